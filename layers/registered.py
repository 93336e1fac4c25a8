"""What files of models may name: the layers, activations and initializers of this package, and TensorFlow's maths."""

import inspect

import tensorflow as tf

import layers
from layers import activations, initializers
from layers.recomputation import Recompute
from layers.registry import register

for thing in (*vars(layers).values(), Recompute):
    if isinstance(thing, type) and issubclass(thing, layers.Layer):
        register(thing)
for function in {*activations.BY_NAME.values(), *activations.GATED.values()}:
    register(function, name=f"activations.{function.__name__}")
for initializer in initializers.BY_NAME.values():
    register(initializer, name=f"initializers.{initializer.__name__}")
for module, maths in (("math", tf.math), ("nn", tf.nn)):
    for name, function in vars(maths).items():
        # Functions alone: what these modules hold besides is not maths.
        if inspect.isfunction(function) and not name.startswith("_"):
            register(function, name=f"tensorflow.{module}.{name}")
