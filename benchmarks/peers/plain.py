"""Plain TensorFlow: `tf.data`, and one call of a `tf.function` a step, as in Sonnet's examples."""

import numpy as np
import tensorflow as tf

from benchmarks import networks
from benchmarks.works import EPSILON, MOMENTUM


class Ops:
    """What `benchmarks.networks` asks for."""

    relu, sigmoid, tanh, softmax, gelu = tf.nn.relu, tf.sigmoid, tf.tanh, tf.nn.softmax, tf.nn.gelu
    reshape, transpose, pad, where, zeros, mean = tf.reshape, tf.transpose, tf.pad, tf.where, tf.zeros, tf.reduce_mean
    concat, rsqrt, cast, take = tf.concat, tf.math.rsqrt, tf.cast, tf.gather

    @staticmethod
    def split(x, count):
        return tf.split(x, count, axis=-1)

    @staticmethod
    def lower_triangle(size):
        return tf.linalg.band_part(tf.ones([size, size], tf.bool), -1, 0)

    @staticmethod
    def conv(x, kernel, strides, padding):
        return tf.nn.conv2d(x, kernel, strides, padding)

    @staticmethod
    def max_pool(x):
        return tf.nn.max_pool2d(x, 2, 2, "VALID")

    @staticmethod
    def batch_norm(x, p, name, moved):
        gamma, beta, mean, variance = (
            p[f"{name}.{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        training = moved is not None
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, mean, variance, 1.001e-5, is_training=training, exponential_avg_factor=0.01
        )
        if training:
            moved[f"{name}.moving_mean"], moved[f"{name}.moving_variance"] = mean, variance
        return y

    @staticmethod
    def scan(step, state, inputs):
        steps = inputs[0].shape[0]
        arrays = [tf.TensorArray(x.dtype, steps, element_shape=x.shape[1:]).unstack(x) for x in inputs]
        return tf.while_loop(
            lambda t, *_: t < steps,
            lambda t, *state: (t + 1, *step(state, [array.read(t) for array in arrays])),
            (0, *state),
            maximum_iterations=steps,
        )[1:]


class Contender:
    note = ""

    def __init__(self, work, weights, arrays, ops=Ops):
        self.work, self.ops = work, ops
        self.p = {name: tf.Variable(value, trainable="moving_" not in name) for name, value in weights.items()}
        self.rule = (Momentum if work.optimizer == "sgd" else Adam)(work, self._trained())
        functions = (self._step, self._evaluate, self._logits)
        self.step, self.evaluate, self.predict = (tf.function(f, autograph=False) for f in functions)
        whole = tf.data.Dataset.from_tensor_slices(arrays)
        self.ordered = whole.batch(work.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        shuffled = whole.shuffle(work.examples).batch(work.batch, drop_remainder=True)
        self.shuffled = shuffled.prefetch(tf.data.AUTOTUNE)

    def _trained(self):
        return [variable for variable in self.p.values() if variable.trainable]

    def _logits(self, x, moved=None):
        return networks.forward(self.work, self.ops, self.p, x, moved)

    def _step(self, x, y):
        moved = {}
        with tf.GradientTape() as tape:
            logits = self._logits(x, moved)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        self.rule(tape.gradient(loss, self._trained()))
        for name, value in moved.items():
            self.p[name].assign(value)
        return loss

    def _evaluate(self, x, y):
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, self._logits(x)))

    def first(self, steps):
        if self.work.task == "evaluate":
            return [float(sum(self.evaluate(x, y) for x, y in self.ordered)) / self.work.examples]
        if self.work.task == "predict":
            return np.ravel(np.concatenate([self.predict(x).numpy() for x, _ in self.ordered])[:2])
        return [float(self.step(x, y)) for x, y in self.ordered.repeat().take(steps)]

    def epochs(self, count):
        for _ in range(count):
            if self.work.task == "train":
                for x, y in self.shuffled:
                    loss = self.step(x, y)
                float(loss)
            else:
                self.first(0)


class Adam:
    """TensorFlow's fused kernel."""

    def __init__(self, work, variables):
        self.rate, self.variables = work.learning_rate, variables
        self.slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
        self.powers = tf.Variable(0.9), tf.Variable(0.999)

    def __call__(self, gradients):
        constants = {"lr": self.rate, "beta1": 0.9, "beta2": 0.999, "epsilon": EPSILON}
        powers = {"beta1_power": self.powers[0], "beta2_power": self.powers[1]}
        for variable, gradient, (m, v) in zip(self.variables, gradients, self.slots, strict=True):
            resources = {"var": variable.handle, "m": m.handle, "v": v.handle}
            tf.raw_ops.ResourceApplyAdam(**resources, **powers, **constants, grad=tf.convert_to_tensor(gradient))
        for power, beta in zip(self.powers, (0.9, 0.999), strict=True):
            power.assign(power * beta)


class Momentum:
    """TensorFlow's fused kernel."""

    def __init__(self, work, variables):
        self.rate, self.variables = work.learning_rate, variables
        self.slots = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def __call__(self, gradients):
        for variable, gradient, slot in zip(self.variables, gradients, self.slots, strict=True):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle, accum=slot.handle, lr=self.rate, grad=gradient, momentum=MOMENTUM
            )
