"""JAX with Optax: one jitted step a batch, weights and optimizer state donated, data on the device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import networks
from benchmarks.works import EPSILON, MOMENTUM


class Ops:
    """What `benchmarks.networks` asks for."""

    relu, sigmoid, tanh, softmax = jax.nn.relu, jax.nn.sigmoid, jnp.tanh, jax.nn.softmax
    reshape, transpose, pad, mean, where, zeros = jnp.reshape, jnp.transpose, jnp.pad, jnp.mean, jnp.where, jnp.zeros
    concat, rsqrt = jnp.concatenate, jax.lax.rsqrt
    gelu = partial(jax.nn.gelu, approximate=False)

    @staticmethod
    def cast(x, dtype):
        return x.astype(dtype)

    @staticmethod
    def take(table, ids):
        return table[ids]

    @staticmethod
    def split(x, count):
        return jnp.split(x, count, axis=-1)

    @staticmethod
    def lower_triangle(size):
        return jnp.tril(jnp.ones([size, size], bool))

    @staticmethod
    def conv(x, kernel, strides, padding):
        return jax.lax.conv_general_dilated(
            x, kernel, (strides,) * 2, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    @staticmethod
    def max_pool(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    @staticmethod
    def batch_norm(x, p, name, moved):
        if moved is None:
            mean, variance = p[f"{name}.moving_mean"], p[f"{name}.moving_variance"]
        else:
            mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
            for part, found in (("moving_mean", mean), ("moving_variance", variance)):
                moved[f"{name}.{part}"] = 0.99 * p[f"{name}.{part}"] + 0.01 * jax.lax.stop_gradient(found)
        return (x - mean) * (jax.lax.rsqrt(variance + 1.001e-5) * p[f"{name}.gamma"]) + p[f"{name}.beta"]

    @staticmethod
    def scan(step, state, inputs):
        return jax.lax.scan(lambda state, x: (step(state, x), None), state, inputs)[0]


class Contender:
    note = ""

    def __init__(self, work, weights, arrays):
        self.work = work
        self.x, self.y = jnp.asarray(arrays[0]), jnp.asarray(arrays[1])
        self.p = {name: jnp.asarray(value) for name, value in weights.items() if "moving_" not in name}
        self.statistics = {name: jnp.asarray(value) for name, value in weights.items() if "moving_" in name}
        if work.optimizer == "sgd":
            rule = optax.sgd(work.learning_rate, momentum=MOMENTUM)
        else:
            rule = optax.adam(work.learning_rate, eps=EPSILON)
        self.slots = rule.init(self.p)

        def loss_of(p, statistics, x, y):
            moved = {}
            logits = networks.forward(work, Ops, {**p, **statistics}, x, moved)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), moved

        @partial(jax.jit, donate_argnums=(0, 1, 2))
        def step(p, statistics, slots, data, rows):
            x, y = (array[rows] for array in data)
            (loss, moved), gradients = jax.value_and_grad(loss_of, has_aux=True)(p, statistics, x, y)
            updates, slots = rule.update(gradients, slots, p)
            return optax.apply_updates(p, updates), moved, slots, loss

        @jax.jit
        def predict(p, x):
            return networks.forward(work, Ops, p, x)

        @jax.jit
        def evaluate(p, x, y):
            return optax.softmax_cross_entropy_with_integer_labels(predict(p, x), y).sum()

        self._step, self._predict, self._evaluate = step, predict, evaluate

    def _train(self, order):
        losses = []
        for rows in order.reshape(-1, self.work.batch):
            self.p, self.statistics, self.slots, loss = self._step(
                self.p, self.statistics, self.slots, (self.x, self.y), rows
            )
            losses.append(loss)
        return losses

    def _batches(self):
        for first in range(0, self.work.examples, self.work.batch):
            rows = slice(first, first + self.work.batch)
            yield self.x[rows], self.y[rows]

    def first(self, steps):
        p = {**self.p, **self.statistics}
        if self.work.task == "evaluate":
            return [float(sum(self._evaluate(p, x, y) for x, y in self._batches())) / self.work.examples]
        if self.work.task == "predict":
            return np.ravel(np.concatenate([np.asarray(self._predict(p, x)) for x, _ in self._batches()])[:2])
        order = np.resize(np.arange(self.work.examples, dtype=np.int32), steps * self.work.batch)
        return [float(loss) for loss in self._train(order)]

    def epochs(self, count):
        rng = np.random.default_rng(1)
        for _ in range(count):
            if self.work.task == "train":
                float(self._train(rng.permutation(self.work.examples).astype(np.int32))[-1])
            else:
                self.first(0)
