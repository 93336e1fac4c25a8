"""The words of the cases of gradient_checkers.py in three frameworks, each with the checkers that know them."""

import numpy as np
import tensorflow as tf

from engine import testing


class Refused(Exception):
    """The checker says that the gradient is wrong."""


class TensorFlow:
    """TensorFlow's words, and two checkers: ours, and the one that comes with it."""

    def __init__(self):
        self.array, self.sin, self.cos, self.exp, self.sum = tf.constant, tf.sin, tf.cos, tf.exp, tf.reduce_sum
        self.relu, self.matmul, self.gather = tf.nn.relu, tf.matmul, tf.gather

    def dropout(self, x):
        return tf.nn.dropout(x, 0.5)

    def rule(self, value, pullback):
        return tf.custom_gradient(lambda x: (value(x), lambda g: pullback(x, g)))

    def check_gradients(self, case, fn, inputs):
        options = {"distance_to_kink": tf.abs} if case.at_kink else {}
        try:
            testing.check_gradients(fn, inputs, order=case.order, dtype=None, **options)
        except testing.GradientError as error:
            raise Refused(error) from error

    def compute_gradient(self, case, fn, inputs):
        def gradient(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = fn(x)
            return tape.gradient(y, x)

        # It returns two Jacobians and leaves the verdict to the caller: here by the tolerances of PyTorch's gradcheck.
        for function in [fn, gradient][: case.order]:
            for pair in zip(*tf.test.compute_gradient(function, inputs), strict=True):
                if not np.allclose(*pair, rtol=1e-3, atol=1e-5):
                    raise Refused(f"Jacobians differ by {np.abs(np.subtract(*pair)).max():.2g}")


class PyTorch:
    """PyTorch's words. ImportError where it is not installed."""

    def __init__(self):
        import torch
        from torch.autograd.gradcheck import GradcheckError

        self.torch, self.array, self.error = torch, torch.tensor, GradcheckError
        self.sin, self.cos, self.exp, self.sum, self.matmul = torch.sin, torch.cos, torch.exp, torch.sum, torch.matmul
        self.relu = torch.relu

    def gather(self, x, rows):
        return self.torch.index_select(x, 0, rows)

    def dropout(self, x):
        return self.torch.nn.functional.dropout(x, 0.5)

    def rule(self, value, pullback):
        class Rule(self.torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return value(x)

            @staticmethod
            def backward(ctx, g):
                return pullback(*ctx.saved_tensors, g)

        return Rule.apply

    def gradcheck(self, case, fn, inputs, fast_mode=False):
        inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
        autograd = self.torch.autograd
        try:
            for check in [autograd.gradcheck, autograd.gradgradcheck][: case.order]:
                check(fn, inputs, fast_mode=fast_mode)
        except self.error as error:
            raise Refused(error) from error

    def gradcheck_fast(self, case, fn, inputs):
        self.gradcheck(case, fn, inputs, fast_mode=True)


class JAX:
    """JAX's words. ImportError where it is not installed."""

    def __init__(self):
        import jax
        from jax.test_util import check_grads

        jax.config.update("jax_enable_x64", True)
        np_ = jax.numpy
        self.jax, self.check, self.array, self.relu = jax, check_grads, np_.asarray, jax.nn.relu
        self.sin, self.cos, self.exp, self.sum, self.matmul = np_.sin, np_.cos, np_.exp, np_.sum, np_.matmul
        self.random = np.random.default_rng(0)

    def gather(self, x, rows):
        return x[rows]

    def dropout(self, x):
        return x * self.random.choice([0.0, 2.0], x.shape)

    def rule(self, value, pullback):
        function = self.jax.custom_vjp(value)
        function.defvjp(lambda x: (value(x), x), lambda x, g: (pullback(x, g),))
        return function

    def check_grads(self, case, fn, inputs):
        # A custom_vjp has no forward mode to be asked for.
        modes = {"modes": ["rev"]} if case.own_rule else {}
        try:
            self.check(fn, tuple(inputs), case.order, **modes)
        except AssertionError as error:
            raise Refused(error) from error
