"""Paths name variables; freezing and the checksum follow them."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

import engine
import layers
from engine import names


class Foreign(tf.Module):
    def __init__(self):
        super().__init__()
        self.first = tf.Variable([1.0, 2.0])
        self.parts = [tf.Variable(3.0), {"inner": tf.Variable(4, trainable=False)}]
        self.again = self.first
        self.child = layers.Dense(2, 3)


def test_paths_are_attribute_paths_and_shared_variables_go_by_the_first():
    assert list(engine.variable_paths(Foreign())) == [
        "first",
        "parts.0",
        "parts.1.inner",
        "child.kernel",
        "child.bias",
    ]


def test_paths_of_a_network_are_its_positions():
    model = layers.Sequential([layers.Dense(2, 3), layers.BatchNorm(3)])
    assert set(engine.variable_paths(model)) == {
        "layers.0.kernel",
        "layers.0.bias",
        *(f"layers.1.{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
    }


def test_a_module_that_contains_itself_is_walked_once():
    module = Foreign()
    module.parent = module
    assert len(engine.variable_paths(module)) == 5


def test_trainable_leaves_out_what_is_frozen_or_was_made_untrainable():
    module = Foreign()
    assert [v.shape.rank for v in engine.trainable_variables(module)] == [1, 0, 2, 1]
    module.child.trainable = False
    assert len(engine.trainable_variables(module)) == 2
    engine.freeze(module)
    assert engine.trainable_variables(module) == []
    engine.freeze(module, False)
    assert len(engine.trainable_variables(module)) == 4


def test_checksum_is_that_of_the_documented_bytes():
    module = tf.Module()
    module.b = tf.Variable(np.array([1.5, -2.0], np.float32))
    module.a = tf.Variable(np.array(7, np.int64), trainable=False)
    digest = hashlib.sha256()
    digest.update(b"a\0int64\0[]\0" + (7).to_bytes(8, "little"))
    digest.update(b"b\0float32\0[2]\0" + np.array([1.5, -2.0], "<f4").tobytes())
    assert engine.weights_sha256(module) == digest.hexdigest()


@pytest.mark.parametrize("change", ["value", "path", "dtype"])
def test_checksum_sees_every_change(change):
    module, other = tf.Module(), tf.Module()
    module.a = tf.Variable([1.0, 2.0])
    if change == "value":
        other.a = tf.Variable([1.0, np.nextafter(np.float32(2), np.float32(3))])
    elif change == "path":
        other.b = tf.Variable([1.0, 2.0])
    else:
        other.a = tf.Variable([1.0, 2.0], dtype=tf.float64)
    assert engine.weights_sha256(module) != engine.weights_sha256(other)


def test_cast_copies_values_and_keeps_the_original():
    model = Foreign()
    copied = engine.cast(model, "float64")
    assert {v.dtype.name for v in engine.variable_paths(copied).values()} == {"float64", "int32"}
    assert copied.again is copied.first
    assert copied.child(tf.zeros([1, 2], tf.float64)).dtype == tf.float64
    copied.first.assign([9, 9])
    np.testing.assert_array_equal(model.first, [1, 2])
    for path, variable in engine.variable_paths(model).items():
        if path not in ("first",):
            np.testing.assert_array_equal(engine.variable_paths(copied)[path], variable.numpy())


def test_parameters_are_counted_once():
    assert engine.parameter_count(Foreign()) == 2 + 1 + 1 + 6 + 3


def test_frozen_are_variables_that_could_be_trained_and_modules_that_have_only_others():
    class Statistics(tf.Module):
        def __init__(self):
            super().__init__()
            self.mean = tf.Variable(0.0, trainable=False)

    class Pair(tf.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = [layers.Dense(2, 3), Statistics()], layers.BatchNorm(3)

    pair = Pair()
    assert names.frozen_names(pair) == []
    engine.freeze(pair.first[0])
    assert names.frozen_names(pair) == ["first.0.kernel", "first.0.bias"]
    engine.freeze(pair)
    assert names.frozen_names(pair) == [
        "first.0.kernel", "first.0.bias", "second.gamma", "second.beta", "first.1",
    ]  # fmt: skip
