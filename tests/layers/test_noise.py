"""Laws of all layers that draw: their rows, dtypes and moments. Those of plain dropout are in test_dropout.py."""

import inspect
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers
from layers import context

# The layer with an amount of noise, and the rank of its input if only one will do.
NOISES = {
    layers.Dropout: None,
    layers.SpatialDropout1D: 3,
    layers.SpatialDropout2D: 4,
    layers.StochasticDepth: None,
    layers.AlphaDropout: None,
    layers.GaussianDropout: None,
    layers.GaussianNoise: None,
}
every_noise = pytest.mark.parametrize("kind", NOISES, ids=lambda kind: kind.__name__)
AMOUNT = 0.3


def shaped(kind, rows, values):
    """A shape with `values` in an example, all of them in the dimension that is drawn for."""
    return [rows, *[1] * ((NOISES[kind] or 3) - 2), values]


def step(first_row=0, **options):
    return engine.StepContext(seed=3, step=2, first_row=first_row, **options)


def test_every_layer_that_draws_is_here():
    public = {getattr(layers, name) for name in layers.__all__}
    ours = {kind for kind in public if inspect.isclass(kind) and kind.__module__ in ("layers.dropout", "layers.noise")}
    assert ours == set(NOISES)


@every_noise
def test_a_slice_draws_the_rows_that_the_whole_batch_draws(kind):
    layer = kind(AMOUNT)
    # A block of the generator holds four values: rows of 1 to 17 begin at every place in one.
    for values in range(1, 18):
        x = tf.random.stateless_normal(shaped(kind, 11, values), [1, values], dtype="float64")
        whole = layer(x, training=step())
        for first, stop in ((0, 1), (3, 8), (10, 11)):
            part = layer(x[first:stop], training=step(first))
            np.testing.assert_allclose(part, whole[first:stop], rtol=1e-15, err_msg=f"{values} values, row {first}")


@every_noise
@settings(max_examples=10)
@given(values=st.integers(1, 17), first=st.integers(0, 2**40), rows=st.integers(1, 4))
def test_rows_anywhere_in_a_long_batch_are_those_of_one_more_cut(kind, values, first, rows):
    layer, x = kind(AMOUNT), tf.ones(shaped(kind, rows + 1, values), tf.float64)
    whole = layer(x, training=step(first))
    np.testing.assert_allclose(layer(x[1:], training=step(first + 1)), whole[1:], rtol=1e-15)


@every_noise
def test_the_draw_does_not_depend_on_the_dtype_nor_on_xla(kind):
    layer, shape = kind(AMOUNT), shaped(kind, 16, 9)
    exact = layer(tf.ones(shape, tf.float64), training=step()).numpy()
    assert len(np.unique(exact)) > 1
    for dtype in ("bfloat16", "float16", "float32", "float64"):
        x = tf.ones(shape, dtype)
        rounding = {"bfloat16": 2**-6, "float16": 2**-9, "float32": 1e-6, "float64": 1e-14}[dtype]
        y = layer(x, training=step())
        assert y.dtype == dtype
        np.testing.assert_allclose(tf.cast(y, tf.float64), exact, rounding, rounding)
        xla = tf.function(lambda x: layer(x, training=step()), jit_compile=True, autograph=False)
        if dtype in ("float32", "float64"):
            np.testing.assert_allclose(xla(x), exact, rounding, rounding)


@every_noise
def test_inference_and_no_noise_are_the_identity_and_draw_nothing(kind):
    x, drawn = tf.random.stateless_normal(shaped(kind, 4, 5), [1, 2]), step()
    np.testing.assert_array_equal(kind(AMOUNT)(x), x)
    np.testing.assert_array_equal(kind(0)(x, training=drawn), x)
    assert drawn.draws == 0


@every_noise
def test_each_call_is_another_draw_and_a_bare_true_repeats_under_the_global_seed(kind):
    layer, x, training = kind(AMOUNT), tf.ones(shaped(kind, 32, 9)), step()
    assert np.any(layer(x, training=training) != layer(x, training=training))
    tf.random.set_seed(7)
    first, second = layer(x, training=True), layer(x, training=True)
    tf.random.set_seed(7)
    np.testing.assert_array_equal(layer(x, training=True), first)
    assert np.any(first != second)


@every_noise
def test_a_graph_with_unknown_sizes_draws_the_same(kind):
    layer, x = kind(AMOUNT), tf.ones(shaped(kind, 6, 5), tf.float64)
    signature = [tf.TensorSpec([None] * x.shape.rank, tf.float64)]
    graph = tf.function(lambda x: layer(x, training=step()), input_signature=signature, autograph=False)
    np.testing.assert_allclose(graph(x), layer(x, training=step()), rtol=1e-15)


@every_noise
@pytest.mark.parametrize("amount", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_keeps_the_mean_and_adds_the_variance_of_its_paper(kind, amount, seed):
    x = tf.random.stateless_normal(shaped(kind, 4000, 5), [seed, 9], dtype="float64")
    y = kind(amount)(x, training=engine.StepContext(seed, 0)).numpy()
    # Var(x·m) = E[m²] for x of mean 0 and variance 1; E[m²] = 1/(1 − rate) for masks and their normal likeness.
    variance = {layers.GaussianNoise: 1 + amount**2, layers.AlphaDropout: 1}.get(kind, 1 / (1 - amount))
    # Values of an example may be dropped together: 4,000 that are apart. m⁴ has a mean of 3 / (1 − rate)³ or less.
    mean_error, variance_error = math.sqrt(variance / 4000), math.sqrt(10 / (1 - amount) ** 3 / 4000)
    assert abs(y.mean()) < 4 * mean_error
    assert abs(y.var() - variance) < 4 * variance_error


def test_what_is_dropped_is_dropped_together():
    ones = {3: tf.ones([500, 7, 6]), 4: tf.ones([500, 3, 2, 6])}
    for kind in (layers.SpatialDropout1D, layers.SpatialDropout2D):
        y = kind(AMOUNT)(ones[NOISES[kind]], training=step()).numpy()
        first = y.reshape(500, -1, 6)[:, :1]
        np.testing.assert_array_equal(y.reshape(500, -1, 6), np.broadcast_to(first, (500, y[0].size // 6, 6)))
        assert abs((first == 0).mean() - AMOUNT) < 4 * math.sqrt(0.21 / first.size)
        assert 0 < (first == 0).any(axis=(1, 2)).mean() < 1
    for x in (*ones.values(), tf.ones([500, 9])):
        y = layers.StochasticDepth(AMOUNT)(x, training=step()).numpy().reshape(500, -1)
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        assert abs((y[:, 0] == 0).mean() - AMOUNT) < 4 * math.sqrt(0.21 / 500)
        np.testing.assert_allclose(y[y != 0], 1 / (1 - AMOUNT), rtol=1e-6)


def test_alpha_dropout_puts_values_at_selus_lowest_and_keeps_its_moments():
    """Equations of Klambauer et al. 2017: mean 0 and variance 1 go in, and come out."""
    x = tf.random.stateless_normal([200_000], [1, 2], dtype="float64")[:, None]
    y = layers.AlphaDropout(0.2)(x, training=step()).numpy()
    values, counts = np.unique(y, return_counts=True)
    lowest = layers.activations.selu(tf.constant(-50.0, tf.float64)).numpy()
    q = 0.8
    a = (q + lowest**2 * q * (1 - q)) ** -0.5
    np.testing.assert_allclose(values[counts.argmax()], a * lowest - a * (1 - q) * lowest, 1e-12)
    assert abs(counts.max() / y.size - 0.2) < 4 * math.sqrt(0.16 / y.size)
    assert abs(y.mean()) < 4 / math.sqrt(y.size)
    assert abs(y.var() - 1) < 4 * math.sqrt(3 / y.size)


class Given:
    """A context whose uniforms are given."""

    def __init__(self, values):
        self.values = tf.constant(values, tf.float32)

    def uniform(self, shape):
        return tf.reshape(self.values, shape)


def test_normals_are_the_inverse_of_their_distribution_function_and_finite_to_the_ends():
    uniforms = np.array([0, 2.0**-23, 0.25, 0.5, 0.75, 1 - 2.0**-23])
    normals = context.normal(Given(uniforms), [6, 1]).numpy().ravel()
    assert np.isfinite(normals).all()
    np.testing.assert_allclose(normals[0], -normals[-1], 1e-9)
    phi = [0.5 * math.erfc(-n / math.sqrt(2)) for n in normals]
    np.testing.assert_allclose(phi, uniforms + 2.0**-24, rtol=1e-12)


def test_normals_pass_a_test_of_kolmogorov_and_smirnov():
    drawn = np.sort(context.normal(step(), [4000, 5]).numpy().ravel())
    expected = np.vectorize(math.erfc)(-drawn / math.sqrt(2)) / 2
    ranks = np.arange(drawn.size + 1) / drawn.size
    distance = max(np.max(ranks[1:] - expected), np.max(expected - ranks[:-1]))
    # A right distribution exceeds this once in a thousand seeds.
    assert distance < 1.95 / math.sqrt(drawn.size)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.GaussianNoise(-0.1), r"GaussianNoise\(-0.1\): stddev must be at least 0, found -0.1"),
        (lambda: layers.GaussianNoise(math.inf), "stddev must be at least 0, found inf"),
        (lambda: layers.GaussianNoise("1"), "stddev must be at least 0, found '1'"),
        (lambda: layers.GaussianDropout(1.0), r"GaussianDropout\(1.0\): rate must lie in \[0, 1\), found 1.0"),
        (lambda: layers.StochasticDepth(-1), r"rate must lie in \[0, 1\), found -1"),
        (lambda: layers.SpatialDropout1D(0.1)(tf.ones([2, 3])), "an input of rank 3, found"),
        (lambda: layers.SpatialDropout2D(0.1)(tf.ones([2, 3, 4])), "an input of rank 4, found"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
