"""Trainers that differ only in how they cut a batch, exact batches for them, and the gradients they arrive at."""

import contextlib
import functools

import numpy as np
import tensorflow as tf

import engine


@functools.cache
def strategy(replicas):
    """One strategy for each number of replicas; None for one alone."""
    if replicas == 1:
        return None
    # The default reduction of a second strategy of another size in one process clashes with that of the first.
    return tf.distribute.MirroredStrategy(
        [f"CPU:{number}" for number in range(replicas)], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def scope(replicas):
    """Where the variables of that many replicas are made."""
    return strategy(replicas).scope() if replicas > 1 else contextlib.nullcontext()


def trainer(model, objective, optimizer, metrics=None, *, replicas=1, precision="float32", **options):
    """A trainer on that many replicas; `model` and `optimizer` are functions, called within their scope."""
    with scope(replicas):
        made = model()
        if precision == "float64":
            made = engine.cast(made, "float64")
        rule = optimizer()
    return engine.Trainer(made, objective, rule, metrics, strategy=strategy(replicas), precision=precision, **options)


class Batches:
    """A pipeline that gives `arrays` in their order, in batches of `batch_size`; the last may be short."""

    def __init__(self, arrays, batch_size=None):
        self.arrays, examples = arrays, len(arrays["inputs"])
        self.batch_size = batch_size or examples
        self.steps_per_epoch = -(-examples // self.batch_size)

    def training(self, seed, epoch=0, index=0):
        return self.evaluation().repeat().skip(index)

    def evaluation(self):
        return tf.data.Dataset.from_tensor_slices(self.arrays).batch(self.batch_size)


class Capture(tf.Module):
    """In place of an update, keeps the gradients that the engine gives to an optimizer; NaN until there are any."""

    def init(self, variables):
        self._paths = lambda: {variable.ref(): path for path, variable in variables.items()}
        self.gradients = {path: tf.Variable(tf.zeros_like(v), trainable=False) for path, v in variables.items()}
        self.forget()

    def apply(self, gradients, variables):
        for gradient, variable in zip(gradients, variables, strict=True):
            self.gradients[self._paths()[variable.ref()]].assign(gradient)

    def forget(self):
        for gradient in self.gradients.values():
            gradient.assign(tf.fill(gradient.shape, tf.constant(np.nan, gradient.dtype)))


def update(made, arrays):
    """One update from one batch; its values by name."""
    history = made.fit(Batches(arrays), max_steps=int(made.state.step) + 1)
    return {name: values[-1] for name, values in history.steps.items()}


def gradients(made, arrays):
    """The gradients of one batch, by path, and the step's values; of a trainer whose optimizer is a `Capture`."""
    made.optimizer.forget()
    values = update(made, arrays)
    return {path: gradient.numpy() for path, gradient in made.optimizer.gradients.items()}, values


def values(module):
    """Every variable of a model, rule or state by path, as arrays."""
    return {path: variable.numpy() for path, variable in engine.variable_paths(module).items()}


def assign(module, arrays):
    """Sets variables by path."""
    variables = engine.variable_paths(module)
    for path, value in arrays.items():
        variables[path].assign(value)


def assert_near(found, expected, tolerance):
    """Each array as near to the one expected as `tolerance`, relative to the norm of all that are expected."""
    norm = np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in expected.values()))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=0, atol=tolerance * norm, err_msg=path)
