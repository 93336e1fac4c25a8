import numpy as np
import pytest
import tensorflow as tf

import layers

DTYPES = ["float64", "bfloat16", "int32", "uint8", "bool", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Flatten(), lambda x: x.reshape(2, 24)),
        (layers.Reshape((4, -1, 2)), lambda x: x.reshape(2, 4, 3, 2)),
        (layers.Reshape((24,)), lambda x: x.reshape(2, 24)),
        (layers.Permute((2, 3, 1)), lambda x: x.transpose(0, 2, 3, 1)),
        (layers.ZeroPadding2D(((1, 0), (0, 2))), lambda x: np.pad(x, [(0, 0), (1, 0), (0, 2), (0, 0)])),
        (layers.Cropping2D(((1, 0), (0, 2))), lambda x: x[:, 1:, :2]),
    ],
    ids=lambda value: str(value) if isinstance(value, layers.Layer) else "",
)
def test_any_dtype_is_arranged(layer, expected, dtype):
    numbers = np.arange(48).reshape(2, 3, 4, 2)
    x = tf.cast(numbers, dtype)
    found = layer(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected(x.numpy()))


@pytest.mark.parametrize("layer", [layers.Reshape((3, -1)), layers.Reshape((3, 2)), layers.Permute((2, 1))])
def test_sides_that_are_unknown_while_tracing_are_arranged_the_same(layer):
    traced = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None])])
    x = tf.random.stateless_normal([4, 2, 3], [1, 2])
    np.testing.assert_array_equal(traced(x), layer(x))


def test_a_shape_that_holds_two_examples_is_refused_when_the_sides_are_unknown():
    traced = tf.function(layers.Reshape((6,)), input_signature=[tf.TensorSpec([None, None])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="12 values, but the requested shape has 24"):
        traced(tf.zeros([4, 3]))


def test_an_empty_batch_keeps_its_shape():
    assert layers.Reshape((2, -1))(tf.zeros([0, 6])).shape == [0, 2, 3]


def test_neighbours_know_what_becomes_of_the_last_dimension():
    with pytest.raises(ValueError, match=r"layer 1 Dense\(3, 1\) cannot take \[..., 4\] from layer 0 Reshape"):
        layers.Sequential([layers.Reshape((2, 4)), layers.Dense(3, 1)])
    with pytest.raises(ValueError, match=r"layer 2 Dense\(3, 1\) cannot take \[..., 4\] from layer 1 Permute"):
        layers.Sequential([layers.Dense(2, 4), layers.Permute((2, 1, 3)), layers.Dense(3, 1)])
    unknown = [
        layers.Dense(2, 4),
        layers.Permute((2, 1)),
        layers.Dense(3, 1),
        layers.Reshape((-1,)),
        layers.Dense(4, 1),
    ]
    assert layers.Sequential(unknown)(tf.zeros([2, 3, 2])).shape == [2, 1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Reshape(4), r"Reshape\(4\): target_shape must be one example's, such as .*, found 4"),
        (lambda: layers.Reshape((-1, 2, -1)), r"target_shape may hold one -1, found \(-1, 2, -1\)"),
        (lambda: layers.Reshape((2, 0)), "target_shape must be a positive integer, found 0"),
        (lambda: layers.Reshape((2, None)), "target_shape must be a positive integer, found None"),
        (lambda: layers.Reshape((5,))(tf.zeros([2, 6])), r"\(5,\) cannot hold the 6 values of \[6\]"),
        (lambda: layers.Reshape((4, -1))(tf.zeros([2, 2, 3])), r"Reshape\(\(4, -1\)\): .* the 6 values of \[2, 3\]"),
        (lambda: layers.Permute((0, 1)), r"Permute\(\(0, 1\)\): dims must hold each of 1, 2, … once, found \(0, 1\)"),
        (lambda: layers.Permute((1, 1)), "dims must hold each of 1, 2, … once"),
        (lambda: layers.Permute(1), "dims must hold each of 1, 2, … once, found 1"),
        (lambda: layers.Permute((1, "b")), "dims must hold each of 1, 2, … once"),
        (lambda: layers.Permute((2, 1))(tf.zeros([2, 3])), r"Permute\(\(2, 1\)\) expects an input of rank 3, found"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
