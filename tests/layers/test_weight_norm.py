"""Reparametrised kernels: NumPy's closed forms, Keras' spectral step, and state that moves once a step."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers
from engine.testing import laws

WRAPPERS = {
    layers.WeightNorm: lambda layer: layers.WeightNorm(layer),
    layers.SpectralNorm: lambda layer: layers.SpectralNorm(layer, power_iterations=2),
}
wrapped = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=[kind.__name__ for kind in WRAPPERS])
# Some tens of products and a division.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def dense(inputs=3, units=4, dtype="float64", **options):
    return layers.Dense(inputs, units, dtype=dtype, **options)


@st.composite
def inner_layers(draw):
    """(a layer with random variables, an input)."""
    seed, options = draw(st.integers(0, 2**16)), {"activation": draw(st.sampled_from([None, "tanh"]))}
    options["use_bias"] = draw(st.booleans())
    sizes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        layer, shape = dense(*sizes, **options), [3, sizes[0]]
    else:
        layer, shape = layers.Conv2D(*sizes, 2, dtype="float64", **options), [3, 3, 4, sizes[0]]
    for number, variable in enumerate(layer.variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [seed, number], dtype="float64"))
    return layer, tf.random.stateless_normal(shape, [seed, 99], dtype="float64")


def differentiate(module, x, training=False):
    """[y, then by path the gradients of Σ y·cos with respect to the trainable variables, and x as "x"]."""
    sources = {path: v for path, v in engine.variable_paths(module).items() if v.trainable}
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = module(x, training=training) if not isinstance(module, layers.Dense | layers.Conv2D) else module(x)
        cosines = tf.reshape(tf.cos(tf.range(tf.cast(tf.size(y), y.dtype))), tf.shape(y))
        total = tf.reduce_sum(y * cosines)
    return y, tape.gradient(total, {"x": x, **sources})


def matrix(kernel):
    kernel = np.asarray(kernel)
    return kernel.reshape(-1, kernel.shape[-1])


@settings(max_examples=10)
@given(inner_layers(), st.integers(0, 100))
def test_weight_norm_is_its_closed_form_with_its_gradients(case, seed):
    """Equations 2 and 3 of Salimans and Kingma 2016, the gradient of the kernel from the layer alone."""
    layer, x = case
    norm, alone = layers.WeightNorm(layer), copy.deepcopy(layer)
    np.testing.assert_allclose(norm(x), layer(x), **CLOSE)
    g = np.random.default_rng(seed).normal(size=layer.kernel.shape[-1])
    norm.g.assign(g)
    v = layer.kernel.numpy()
    length = np.linalg.norm(matrix(v), axis=0)
    alone.kernel.assign(g * v / length)
    y, found = differentiate(norm, x)
    expected_y, expected = differentiate(alone, x)
    to_kernel = expected.pop("kernel").numpy()
    to_g = (matrix(to_kernel) * matrix(v) / length).sum(0)
    expected = {("x" if path == "x" else f"layer.{path}"): value for path, value in expected.items()}
    expected |= {"g": to_g, "layer.kernel": g / length * to_kernel - g * to_g / length**2 * v}
    np.testing.assert_allclose(y, expected_y, **CLOSE)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, 1e-11, 1e-11, err_msg=path)


@settings(max_examples=10)
@given(inner_layers(), st.integers(1, 3), st.sampled_from([False, True]))
def test_spectral_norm_is_its_closed_form_with_its_gradients(case, iterations, training):
    """Algorithm 1 of Miyato et al. 2018; the gradient is ∇W = (∇W̄ − ⟨∇W̄, W̄⟩·v·uᵀ) / σ."""
    layer, x = case
    norm, alone = layers.SpectralNorm(layer, iterations), copy.deepcopy(layer)
    w, u, v = matrix(layer.kernel), norm.vector_u.numpy()[0], norm.vector_v.numpy()[0]
    for _ in range(iterations * training):
        v = w @ u / np.linalg.norm(w @ u)
        u = v @ w / np.linalg.norm(v @ w)
    sigma = v @ w @ u
    alone.kernel.assign(layer.kernel / sigma)
    y, found = differentiate(norm, x, training)
    expected_y, expected = differentiate(alone, x)
    to_kernel = matrix(expected.pop("kernel"))
    to_kernel = (to_kernel - (to_kernel * w / sigma).sum() * np.outer(v, u)) / sigma
    expected = {("x" if path == "x" else f"layer.{path}"): value for path, value in expected.items()}
    expected["layer.kernel"] = to_kernel.reshape(layer.kernel.shape)
    np.testing.assert_allclose(y, expected_y, **CLOSE)
    np.testing.assert_allclose(norm.vector_u[0], u, **CLOSE)
    np.testing.assert_allclose(norm.vector_v[0], v, **CLOSE)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, 1e-10, 1e-10, err_msg=path)


@settings(max_examples=8)
@given(inner_layers(), st.integers(1, 3))
def test_a_training_step_of_spectral_norm_computes_what_keras_does(case, iterations):
    layer, x = case
    norm, kind = layers.SpectralNorm(layer, iterations), type(layer)
    options = {"use_bias": layer.bias is not None}
    options["activation"] = None if layer.activation is layers.activations.linear else "tanh"
    inner = keras.layers.Dense(layer.units, dtype="float64", **options) if kind is layers.Dense else None
    inner = inner or keras.layers.Conv2D(layer.filters, 2, dtype="float64", **options)
    theirs = keras.layers.SpectralNormalization(inner, iterations, dtype="float64")
    theirs.build(x.shape)
    for name in ("kernel", "bias")[: 1 + (layer.bias is not None)]:
        getattr(inner, name).assign(getattr(layer, name))
    theirs.vector_u.assign(norm.vector_u)
    # Keras adds 1e-7 to the squares whose root it divides by.
    np.testing.assert_allclose(norm(x, training=True), theirs(x, training=True), 0, 1e-6)
    np.testing.assert_allclose(norm.vector_u, theirs.vector_u, 0, 1e-6)


def units(layer):
    """What each output channel computes with, one column each."""
    kernel = layer.kernel.numpy()
    if isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose):
        kernel = np.moveaxis(kernel, -2, -1)
    elif isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        return kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1])
    return matrix(kernel)


@pytest.mark.parametrize(
    "build",
    [
        lambda **options: layers.Conv1DTranspose(2, 3, 2, **options),
        lambda **options: layers.Conv2DTranspose(2, 3, 2, **options),
        lambda **options: layers.DepthwiseConv1D(2, 3, depth_multiplier=2, **options),
        lambda **options: layers.DepthwiseConv2D(2, 3, depth_multiplier=2, **options),
    ],
    ids=["Conv1DTranspose", "Conv2DTranspose", "DepthwiseConv1D", "DepthwiseConv2D"],
)
def test_kernels_of_every_form_have_one_length_for_each_output_channel(build):
    layer = build(dtype="float64", use_bias=False)
    x = tf.random.stateless_normal([2, *[4] * layer.rank, 2], [1, 2], dtype="float64")
    before, count = layer(x), layer.last_dimension(2)
    norm = layers.WeightNorm(layer)
    assert norm.g.shape == [count]
    np.testing.assert_allclose(norm.g, np.linalg.norm(units(layer), axis=0), **CLOSE)
    np.testing.assert_allclose(norm(x), before, **CLOSE)
    # A longer g makes its own channel of the output larger, and no other.
    factors = np.arange(1.0, count + 1)
    norm.g.assign(norm.g * factors)
    np.testing.assert_allclose(norm(x), before * factors, **CLOSE)
    spectral = layers.SpectralNorm(layer, 100)
    spectral(x, training=True)
    assert (spectral.vector_u.shape, spectral.vector_v.shape) == ([1, count], [1, len(units(layer))])
    np.testing.assert_allclose(spectral(x), before / np.linalg.norm(units(layer), 2), 1e-6, 1e-6)


def test_spectral_norm_finds_the_largest_singular_value():
    norm = layers.SpectralNorm(dense(6, 5, use_bias=False))
    norm.layer.kernel.assign(np.random.default_rng(0).normal(size=(6, 5)))
    for _ in range(200):
        norm(tf.eye(6, dtype="float64"), training=True)
    kernel = norm(tf.eye(6, dtype="float64"))
    np.testing.assert_allclose(np.linalg.norm(kernel, 2), 1, 1e-9)
    stretched = norm(tf.eye(6, dtype="float64") * 3)
    np.testing.assert_allclose(np.linalg.norm(stretched, 2), 3, 1e-9)


@pytest.mark.parametrize("how", ["inference", "frozen", "replayed", "later part"])
def test_vectors_stay_but_in_the_first_part_of_a_step_of_training(how, step_context):
    norm, x = layers.SpectralNorm(dense()), tf.ones([2, 3], tf.float64)
    context, before = step_context(), norm.vector_u.numpy()
    if how == "inference":
        context = False
    elif how == "frozen":
        norm.trainable = False
    elif how == "replayed":
        context.replays = True
    else:
        context.first_part = tf.constant(False)
    norm(x, training=context)
    np.testing.assert_array_equal(norm.vector_u, before)
    norm.trainable = True
    y = norm(x, training=step_context())
    assert np.any(norm.vector_u != before)
    np.testing.assert_array_equal(norm(x), y)


def kernel_of_zeros(wrap):
    return wrap(dense(kernel_initializer="zeros"))


@wrapped
def test_a_kernel_of_0_gives_finite_values_and_gradients(wrap):
    norm = kernel_of_zeros(wrap)
    y, gradients = differentiate(norm, tf.ones([2, 3], tf.float64), True)
    np.testing.assert_array_equal(y, np.zeros([2, 4]))
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_spectral_norm_leaves_a_kernel_of_0_and_starts_when_there_is_one():
    norm, x = kernel_of_zeros(WRAPPERS[layers.SpectralNorm]), tf.ones([2, 3], tf.float64)
    _, gradients = differentiate(norm, x, True)
    _, expected = differentiate(norm.layer, x)
    np.testing.assert_array_equal(gradients["layer.kernel"], expected["kernel"])
    norm.layer.kernel.assign(np.outer([1, 2, 2], [0, 3, 4, 0]))
    np.testing.assert_allclose(norm(tf.eye(3, dtype="float64"), training=True), norm.layer.kernel / 15, **CLOSE)


@wrapped
def test_the_wrapped_layer_stays_as_it_was_even_after_an_error(wrap, tmp_path):
    class Fails(layers.Dense):
        def __call__(self, x):
            raise RuntimeError("fails")

    for layer in (dense(), Fails(3, 4, dtype="float64")):
        norm, kernel = wrap(layer), layer.kernel
        paths = list(engine.variable_paths(norm))
        call = tf.function(lambda x, norm=norm: norm(x, training=True), autograph=False)
        if isinstance(layer, Fails):
            with pytest.raises(RuntimeError, match="fails"):
                norm(tf.ones([2, 3], tf.float64))
            with pytest.raises(RuntimeError, match="fails"):
                call(tf.ones([2, 3], tf.float64))
        else:
            call(tf.ones([2, 3], tf.float64))
            tf.train.Checkpoint(model=norm).save(str(tmp_path / "checkpoint"))
        assert layer.kernel is kernel
        assert list(engine.variable_paths(norm)) == paths
        assert paths[: len(layer.variables)] == [f"layer.{name}" for name in engine.variable_paths(layer)]


def test_the_fields_are_those_of_the_papers():
    assert list(engine.variable_paths(layers.WeightNorm(dense()))) == ["layer.kernel", "layer.bias", "g"]
    norm = layers.SpectralNorm(dense())
    assert list(engine.variable_paths(norm)) == ["layer.kernel", "layer.bias", "vector_u", "vector_v"]
    assert len(engine.trainable_variables(norm)) == 2


@wrapped
def test_the_laws_of_every_layer_hold(wrap, tmp_path):
    layer, x = wrap(dense(activation="tanh")), tf.random.stateless_normal([4, 3], [1, 2], dtype="float64")
    laws.same_in_graph_and_xla(layer, x)
    laws.batch_is_its_examples(layer, x)
    laws.examples_sum_to_batch_gradient(layer, x)
    laws.float32_follows_float64(layer, x)
    laws.frozen_has_no_gradient(layer, x)
    laws.replicas_are_one(lambda: wrap(dense(activation="tanh")), x)
    laws.saving_changes_nothing(lambda: wrap(dense(activation="tanh")), x, tmp_path)


@wrapped
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_a_wrapper_computes_in_the_dtype_of_its_input(wrap, dtype):
    norm, x = wrap(dense(dtype="float32")), tf.random.stateless_normal([4, 3], [1, 2])
    y = norm(tf.cast(x, dtype), training=True)
    assert y.dtype == dtype
    # A few products of bfloat16, of 8 bits.
    np.testing.assert_allclose(tf.cast(y, tf.float32), norm(x), 0, 2**-5)
    graph = tf.function(norm, input_signature=[tf.TensorSpec([None, 3])], autograph=False)
    np.testing.assert_allclose(graph(x), norm(x), 0, 1e-6)


@wrapped
def test_recomputation_changes_nothing(wrap, step_context):
    x = tf.random.stateless_normal([4, 3], [1, 2], dtype="float64")
    inner = [layers.Sequential([wrap(dense(activation="tanh")), layers.Dropout(0.3)]) for _ in range(2)]
    for one, other in zip(inner[0].variables, inner[1].variables, strict=True):
        other.assign(one)
    y, expected = differentiate(inner[0], x, step_context())
    again, found = differentiate(layers.recompute(inner[1]), x, step_context())
    np.testing.assert_array_equal(again, y)
    for one, other in zip(expected.values(), found.values(), strict=True):
        np.testing.assert_allclose(other, one, **CLOSE)
    for one, other in zip(inner[0].variables, inner[1].variables, strict=True):
        np.testing.assert_array_equal(one, other)


@wrapped
def test_training_passes_through_and_arguments_make_it_again(wrap):
    class Noisy(layers.Dense):
        def __call__(self, x, training=False):
            return super().__call__(x) + (1 if training else 0)

    norm, x = wrap(Noisy(3, 4)), tf.ones([2, 3])
    quiet = norm(x, training=False)
    np.testing.assert_allclose(norm(x, training=True), (norm(x) + 1), rtol=1e-5)
    assert quiet.shape == [2, 4]
    again = type(norm)(*norm.arguments.args, **norm.arguments.kwargs)
    assert again.arguments == norm.arguments
    assert norm.last_dimension(3) == 4


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: layers.WeightNorm(layers.Flatten()), TypeError, r"WeightNorm\(Flatten\(\)\): layer must be a layer w"),
        (lambda: layers.SpectralNorm(tf.nn.relu), TypeError, "layer must be a layer with a variable `kernel`"),
        (lambda: layers.WeightNorm(layers.WeightNorm(dense())), TypeError, "layer must be a layer with a variable"),
        (lambda: layers.SpectralNorm(dense(), 0), ValueError, "power_iterations must be a positive integer, found 0"),
        (lambda: layers.WeightNorm(dense())(tf.zeros([2, 5])), ValueError, "a last dimension of 3, found 5"),
        (lambda: layers.WeightNorm(dense())(tf.zeros([2, 3], tf.int32)), TypeError, "computes with floats, found an"),
    ],
)
def test_bad_arguments_are_refused(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
