"""Laws of the base class: arguments, repr, copies, checkpoints, freezing."""

import copy

import numpy as np
import pytest
import tensorflow as tf

import layers


class Configured(layers.Layer):
    def __init__(self, options, *, sizes=()):
        super().__init__()
        sizes.append(99)
        self.w = self.variable("w", [2], "ones")


def small_model():
    return layers.Sequential([
        layers.Dense(3, 4), tf.nn.relu, layers.BatchNorm(4), layers.Sequential([layers.Dense(4, 2)]),
    ])  # fmt: skip


def test_repr_reads_like_the_call():
    assert repr(layers.Dense(784, 128, activation="relu")) == "Dense(784, 128, activation='relu')"
    assert repr(layers.Dense(2, 3, activation=tf.nn.relu)) == "Dense(2, 3, activation=relu)"
    assert repr(layers.Dense(2, 3, dtype=tf.float64)) == "Dense(2, 3, dtype='float64')"
    assert repr(small_model()) == ("Sequential([Dense(3, 4), relu, BatchNorm(4), Sequential([Dense(4, 2)])])")
    custom = layers.Dense(2, 3, bias_initializer=layers.initializers.constant(0.5))
    assert repr(custom) == "Dense(2, 3, bias_initializer=constant(value=0.5))"


def test_arguments_are_those_given_even_if_a_list_changes_later():
    sizes = [1, 2]
    layer = Configured({"b": 1, "a": [2]}, sizes=sizes)
    assert layer.arguments.arguments == {"options": {"b": 1, "a": [2]}, "sizes": [1, 2]}


def test_arguments_stay_out_of_checkpoints_and_out_of_the_modules_variables(tmp_path):
    hidden = tf.Module()
    hidden.v = tf.Variable(1.0)
    layer = Configured({1: hidden, 2: "x"}, sizes=[hidden])
    assert layer.submodules == ()
    assert len(layer.variables) == 1
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "checkpoint"))
    names = [name for name, _ in tf.train.list_variables(path) if "OBJECT_GRAPH" not in name]
    assert names == ["layer/w/.ATTRIBUTES/VARIABLE_VALUE"]


def test_a_checkpoint_brings_back_every_value(tmp_path):
    model, other = small_model(), small_model()
    x = tf.random.stateless_normal([5, 3], [1, 2])
    model(x, training=True)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=other).read(path).assert_consumed().assert_existing_objects_matched()
    np.testing.assert_array_equal(model(x), other(x))


def test_paths_of_variables_read_like_attributes():
    paths = dict(small_model()._flatten(predicate=lambda v: isinstance(v, tf.Variable), with_path=True))
    assert ("layers", 0, "kernel") in paths
    assert ("layers", 3, "layers", 0, "bias") in paths


def test_a_saved_model_computes_the_same(tmp_path):
    model = small_model()
    model.serve = tf.function(model, input_signature=[tf.TensorSpec([None, 3])])
    x = tf.random.stateless_normal([5, 3], [1, 2])
    tf.saved_model.save(model, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=1e-6)


def test_a_deep_copy_is_equal_and_independent():
    model = small_model()
    twin = copy.deepcopy(model)
    x = tf.random.stateless_normal([5, 3], [1, 2])
    before = model(x).numpy()
    np.testing.assert_array_equal(twin(x), before)
    assert repr(twin) == repr(model)
    for variable in twin.variables:
        variable.assign(variable + 1)
    twin.trainable = False
    np.testing.assert_array_equal(model(x), before)
    assert model.layers[0].trainable
    # The copy's arguments are its own layers, not those of the original.
    assert twin.arguments.arguments["layers"][0] is twin.layers[0]


def test_freezing_reaches_the_whole_subtree_foreign_modules_too_and_can_be_undone():
    foreign = tf.Module()
    foreign.inner = layers.Dense(2, 2)
    model = small_model()
    model.foreign = foreign
    for value in (False, True):
        model.trainable = value
        assert model.trainable is value
        assert {module.trainable for module in model.submodules} == {value}


def test_a_frozen_model_trains_no_statistics():
    model = small_model()
    x = tf.random.stateless_normal([5, 3], [1, 2])
    model.trainable = False
    before = [v.numpy() for v in model.variables]
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_a_layer_that_forgets_its_base_constructor_still_has_dtype_and_trainable():
    class Hasty(layers.Layer):
        def __init__(self):
            self.w = self.variable("w", [2], "zeros")

    assert Hasty().w.dtype == Hasty().dtype == tf.float32
    assert Hasty().trainable


def test_a_rank_that_cannot_be_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Dense\(3, 2\) expects an input of rank at least 2, found \[3\]"):
        layers.Dense(3, 2)(tf.zeros([3]))
    with pytest.raises(ValueError, match=r"Conv2D\(1, 2, 3\) expects an input of rank 4, found \[8, 28, 28\]"):
        layers.Conv2D(1, 2, 3)(tf.zeros([8, 28, 28]))


def test_a_window_beyond_the_image_is_refused_by_name():
    expected = r"MaxPool2D\(3\): the window's height of 3 exceeds the input \[1, 2, 5, 1\]"
    with pytest.raises(ValueError, match=expected):
        layers.MaxPool2D(3)(tf.zeros([1, 2, 5, 1]))
    with pytest.raises(ValueError, match="the window's width of 5 exceeds"):
        layers.Conv2D(1, 1, 3, dilation_rate=2)(tf.zeros([1, 5, 4, 1]))


def test_a_list_or_an_array_is_taken_as_a_tensor():
    assert layers.Dense(3, 2)([[1.0, 2.0, 3.0]]).dtype == tf.float32
    assert layers.Dense(3, 2)(np.ones([1, 3])).dtype == tf.float64


def test_variables_have_the_layers_dtype_and_moving_statistics_at_least_float32():
    norm = layers.BatchNorm(3, dtype="bfloat16")
    assert (norm.gamma.dtype, norm.moving_mean.dtype) == (tf.bfloat16, tf.float32)
    assert layers.Dense(3, 2, dtype="float64").kernel.dtype == tf.float64


def test_arrays_in_arguments_are_shown_by_their_shape():
    table = np.zeros([2, 3])
    layer = layers.Dense(2, 3, kernel_initializer=layers.initializers.constant(table))
    assert repr(layer) == "Dense(2, 3, kernel_initializer=constant(value=<float64 [2, 3]>))"
    assert repr(Configured(table, sizes=[])) == "Configured(<float64 [2, 3]>, sizes=[])"
    scaled = layers.Dense(2, 3, kernel_initializer=layers.initializers.variance_scaling(2.0))
    assert "variance_scaling(scale=2.0, mode='fan_in', distribution='truncated_normal')" in repr(scaled)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Dense(2, 3, kernel_initializer="foo"), r"='foo'\): variable 'kernel': unknown initializer"),
        (lambda: layers.Dense(2, 3, bias_initializer=lambda shape, dtype: tf.zeros([4], dtype)),
         r"^Dense\(.*the initializer of 'bias' must make \[3\], found \[4\]$"),
        (lambda: layers.Dense(2, 3, dtype="foo"), r"^Dense\(2, 3, dtype='foo'\): dtype must be a floating type, found"),
        (lambda: tf.function(layers.Dense(2, 3), input_signature=[tf.TensorSpec(None)])(tf.ones([1, 2])),
         r"Dense\(2, 3\) expects an input of rank at least 2, found an unknown one"),
    ],
)  # fmt: skip
def test_what_a_layer_cannot_be_made_of_is_named_in_one_line(build, message):
    with pytest.raises(ValueError, match=message):
        build()
