"""Every law holds for what is right, and is broken, with a message that says where, by a violation made for it."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from law_parts import STEP, Follows, Scaled, features, images, network

import engine
import layers
from engine.testing import laws, strategies


def test_scaled_alone_keeps_every_law(tmp_path):
    laws.same_in_graph_and_xla(Scaled(), features())
    laws.batch_is_its_examples(Scaled(), features())
    laws.examples_sum_to_batch_gradient(Scaled(), features())
    laws.float32_follows_float64(Scaled(), features())
    laws.frozen_has_no_gradient(Scaled(), features())
    laws.saving_changes_nothing(Scaled, features(), tmp_path / "saved")
    laws.replicas_are_one(Scaled, features(), (2,))


# Eager = graph = XLA


class DrawsByBackend(Scaled):
    """TensorFlow's stateless uniforms, which are other numbers under XLA."""

    def harm(self, y, training):
        return y + tf.random.stateless_uniform(tf.shape(y), [1, 2])


class AsksPython(Scaled):
    """Another branch when it is traced."""

    def harm(self, y, training):
        return y if tf.executing_eagerly() else y * 1.001


class WrongGradientInGraphs(Scaled):
    """The right value with half of the gradient, in graphs."""

    def harm(self, y, training):
        return y if tf.executing_eagerly() else 0.5 * y + tf.stop_gradient(0.5 * y)


class CallsPython(Scaled):
    """An operation that XLA lacks."""

    def harm(self, y, training):
        return y + tf.ensure_shape(tf.numpy_function(np.zeros_like, [y], y.dtype), y.shape)


def test_a_network_computes_the_same_in_graph_and_xla():
    laws.same_in_graph_and_xla(network(), images(), training=STEP)


@pytest.mark.parametrize(
    ("layer", "where", "name"),
    [
        (DrawsByBackend(), "under XLA", "outputs"),
        (AsksPython(), "in a graph", "outputs"),
        (WrongGradientInGraphs(), "in a graph", "the gradient of inputs[0]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_another_result_in_graph_or_xla_is_found(layer, where, name):
    with pytest.raises(laws.LawError, match=where) as caught:
        laws.same_in_graph_and_xla(layer, features())
    error = caught.value
    assert (error.law, error.name) == ("same_in_graph_and_xla", name)
    assert len(error.index) == 2
    assert error.difference == abs(error.found - error.expected) > error.bound
    assert type(layer).__name__ in str(error)
    assert str(error.index) in str(error)


def test_what_does_not_compile_is_found():
    with pytest.raises(laws.LawError, match="not under XLA"):
        laws.same_in_graph_and_xla(CallsPython(), features())


def test_what_draws_anew_at_each_call_is_told_of_the_step_context():
    with pytest.raises(laws.LawError, match=r"training=engine\.StepContext"):
        laws.same_in_graph_and_xla(layers.Dropout(0.5), features(), training=True)
    laws.same_in_graph_and_xla(layers.Dropout(0.5), features(), training=STEP)


def unmixed():
    return layers.Sequential([layers.Conv2D(2, 3, 4), layers.Flatten(), layers.Dropout(0.3), layers.Dense(12, 4)])


# A batch is its examples


class Mixes(Scaled):
    """A hundredth of the batch's mean."""

    def harm(self, y, training):
        return y + 0.01 * tf.reduce_mean(y, 0, keepdims=True)


def test_a_network_computes_each_example_alone():
    laws.batch_is_its_examples(network(), images())
    laws.examples_sum_to_batch_gradient(network(), images())
    laws.batch_is_its_examples(unmixed(), images(), training=STEP)
    laws.examples_sum_to_batch_gradient(unmixed(), images(), training=STEP)


@pytest.mark.parametrize("law", [laws.batch_is_its_examples, laws.examples_sum_to_batch_gradient])
def test_what_mixes_examples_is_found(law):
    for layer, training in ((Mixes(), None), (layers.BatchNorm(3), True)):
        with pytest.raises(laws.LawError, match="differ by") as caught:
            law(layer, features(), training=training)
        assert caught.value.law == law.__name__


def test_a_mean_over_the_batch_is_found():
    def mean_loss(labels, outputs):
        return tf.reduce_mean(engine.losses.sparse_categorical_crossentropy(labels, outputs))

    inputs = (tf.constant([0, 2, 1]), features(3))
    laws.examples_sum_to_batch_gradient(engine.losses.sparse_categorical_crossentropy, inputs)
    with pytest.raises(laws.LawError, match=r"shape \[\] for 3"):
        laws.examples_sum_to_batch_gradient(mean_loss, inputs)


def test_rare_rows_are_summed_over_examples():
    table = tf.Variable(tf.random.stateless_normal([6, 2], [0, 0]))
    laws.examples_sum_to_batch_gradient(lambda ids: tf.gather(table, ids), tf.constant([[1, 1], [4, 1], [0, 5]]))


@pytest.mark.parametrize("inputs", [features(1), (features(2), features(3)), tf.constant(1.0)])
def test_a_batch_needs_rows_to_compare(inputs):
    with pytest.raises(ValueError, match="at least 2 rows"):
        laws.batch_is_its_examples(lambda *x: x[0], inputs)


# float32 and float64


class OnePassNorm(Scaled):
    """Normalised by E[x²] − E[x]², the textbook's way to lose all digits."""

    def harm(self, y, training):
        mean = tf.reduce_mean(y, 1, keepdims=True)
        variance = tf.reduce_mean(y**2, 1, keepdims=True) - mean**2
        return (y - mean) / tf.sqrt(tf.abs(variance) + 1e-3)


class TwoPassNorm(Scaled):
    """The same, from centred squares."""

    def harm(self, y, training):
        mean = tf.reduce_mean(y, 1, keepdims=True)
        variance = tf.reduce_mean((y - mean) ** 2, 1, keepdims=True)
        return (y - mean) / tf.sqrt(variance + 1e-3)


class Narrow(Scaled):
    """Through float32, whatever comes."""

    def harm(self, y, training):
        return tf.cast(tf.cast(y, tf.float32), y.dtype) * tf.ones([], y.dtype)


def test_float32_follows_float64_where_the_algorithm_is_sound():
    laws.float32_follows_float64(network(), images(), training=STEP)
    laws.float32_follows_float64(TwoPassNorm(16), 1000 + features(width=16))
    laws.float32_follows_float64(layers.BatchNorm(3), 1000 + features(64), training=STEP)


def test_a_variance_in_one_pass_is_found():
    laws.float32_follows_float64(OnePassNorm(16), features(width=16))
    with pytest.raises(laws.LawError, match="in float32") as caught:
        laws.float32_follows_float64(OnePassNorm(16), 1000 + features(width=16))
    assert caught.value.difference > 10 * caught.value.bound


def test_an_output_that_stays_float32_is_found():
    with pytest.raises(laws.LawError, match="outputs is float32"):
        laws.float32_follows_float64(lambda x: tf.cast(x, tf.float32) * 2, features())


def test_a_function_with_variables_of_its_own_is_refused():
    with pytest.raises(TypeError, match="give it the module"):
        laws.float32_follows_float64(lambda x: x * tf.cast(gain, x.dtype), features())


gain = tf.Variable([1.0, 2.0, 3.0], name="gain")


# All of them


@pytest.mark.parametrize(
    "law",
    [
        laws.same_in_graph_and_xla,
        laws.batch_is_its_examples,
        laws.examples_sum_to_batch_gradient,
        laws.float32_follows_float64,
        laws.frozen_has_no_gradient,
    ],
)
def test_a_law_leaves_the_module_as_it_was(law):
    made = layers.Sequential([layers.Dense(3, 2), Follows(2)])
    digest, trainable = engine.weights_sha256(made), [v.ref() for v in engine.trainable_variables(made)]
    try:
        law(made, features(), training=STEP)
    except laws.LawError:
        assert law is laws.frozen_has_no_gradient
    assert engine.weights_sha256(made) == digest
    assert [v.ref() for v in engine.trainable_variables(made)] == trainable


def test_arguments_may_be_nests_methods_and_partials():
    class Pair(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, 2)

        def both(self, batch, shift, mask=None):
            y = self.dense(batch["x"])
            return {"sum": y + shift, "parts": (y, batch["ids"])}

    batch = {"x": features(), "ids": tf.range(5)}
    for fn in (Pair().both, functools.partial(Pair().both, mask=None)):
        laws.same_in_graph_and_xla(fn, (batch, 0.5))
        laws.batch_is_its_examples(fn, (batch, 0.5))
        laws.examples_sum_to_batch_gradient(fn, (batch, 0.5))
        laws.float32_follows_float64(fn, (batch, 0.5))


def test_half_precision_has_bounds_of_its_own():
    for dtype in (tf.bfloat16, tf.float16):
        laws.same_in_graph_and_xla(layers.Dense(3, 2, activation="tanh"), tf.cast(features(), dtype))
        laws.batch_is_its_examples(layers.Dense(3, 2, activation="tanh"), tf.cast(features(), dtype))


@settings(max_examples=15)
@given(strategies.layer_cases(layers.Dense) | strategies.layer_cases(layers.Conv2D))
def test_layers_keep_the_laws_on_random_cases(case):
    layer, x = case
    laws.float32_follows_float64(layer, x)
    if x.shape[0] > 1:
        laws.batch_is_its_examples(layer, x)
        laws.examples_sum_to_batch_gradient(layer, x)


def test_only_the_strategies_need_hypothesis():
    for file in (Path(engine.__file__).parent / "testing").rglob("*.py"):
        if "strategies" not in file.parts:
            assert "import hypothesis" not in file.read_text(), file
            assert "from hypothesis" not in file.read_text(), file
