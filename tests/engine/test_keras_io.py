"""Weights travel from real Keras files and into real Keras models, and both compute the same."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import engine
import layers
from engine import keras_io

FORMATS = ("x.weights.h5", "x.keras", "x.h5")


def shaken(variables):
    rng = np.random.default_rng(0)
    for variable in variables:
        if np.issubdtype(
            np.dtype(variable.dtype if isinstance(variable.dtype, str) else variable.dtype.name), np.floating
        ):
            variable.assign(rng.uniform(0.1, 0.9, variable.shape))


def images():
    """Layers whose names are in no order, with others of the same kind beside them."""
    k, w = keras.layers, {"name": "zz"}
    theirs = keras.Sequential(
        [
            keras.Input((8, 8, 3)), k.Conv2D(4, 3, **w), k.BatchNormalization(name="aa"), k.ReLU(),
            k.SeparableConv2D(5, 3, name="b"), k.Dropout(0.5), k.DepthwiseConv2D(2, name="a"),
            k.Conv2DTranspose(3, 2, name="c"), k.GroupNormalization(3, name="g"), k.Flatten(),
            k.Dense(6, name="y"), k.LayerNormalization(name="l"), k.Dense(2, use_bias=False, name="x"),
        ]
    )  # fmt: skip
    ours = layers.Sequential(
        [
            layers.Conv2D(3, 4, 3), layers.BatchNorm(4), layers.activations.relu,
            layers.SeparableConv2D(4, 5, 3), layers.Dropout(0.5), layers.DepthwiseConv2D(5, 2),
            layers.Conv2DTranspose(5, 3, 2), layers.GroupNorm(3, groups=3), layers.Flatten(),
            layers.Dense(48, 6), layers.LayerNorm(6), layers.Dense(6, 2, use_bias=False),
        ]
    )  # fmt: skip
    return ours, theirs, np.random.default_rng(1).uniform(size=(2, 8, 8, 3)).astype(np.float32)


def sequences():
    k = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"), k.Embedding(11, 4), k.Bidirectional(k.LSTM(3, return_sequences=True)),
            k.GRU(4, return_sequences=True), k.SimpleRNN(3, return_sequences=True), k.LSTM(2), k.Dense(2),
        ]
    )  # fmt: skip
    ours = layers.Sequential(
        [
            layers.Embedding(11, 4), layers.Bidirectional(layers.LSTM(4, 3, return_sequences=True)),
            layers.GRU(6, 4, return_sequences=True), layers.SimpleRNN(4, 3, return_sequences=True), layers.LSTM(3, 2),
            layers.Dense(2, 2),
        ]
    )  # fmt: skip
    return ours, theirs, np.random.default_rng(1).integers(0, 11, (2, 5)).astype(np.int32)


class Attending(tf.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.head = layers.MultiHeadAttention(4, num_heads=2, key_dim=3), layers.Dense(4, 2)

    def __call__(self, x):
        return self.head(self.attention(x))


def attention():
    x = keras.Input((5, 4))
    y = keras.layers.Dense(2)(keras.layers.MultiHeadAttention(2, 3, name="mha")(x, x))
    return Attending(), keras.Model(x, y), np.random.default_rng(1).uniform(size=(2, 5, 4)).astype(np.float32)


def save(theirs, path):
    theirs.save(path) if path.name == "x.h5" or path.suffix == ".keras" else theirs.save_weights(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("make", [images, sequences, attention])
def test_weights_come_from_keras_and_go_back(tmp_path, make, name):
    ours, theirs, x = make()
    shaken(theirs.weights)
    path = tmp_path / name
    save(theirs, path)
    report = keras_io.load_weights(ours, path)
    expected = theirs(x, training=False)
    np.testing.assert_allclose(ours(x), expected, rtol=2e-5, atol=1e-5)
    assert len(str(report).splitlines()) == len(report.pairs) + 1
    assert {mine for mine, _ in report.pairs} == set(engine.variable_paths(ours))
    shaken(theirs.weights[::-1])
    assert not np.allclose(theirs(x, training=False), expected, rtol=1e-3)
    back = tmp_path / f"back.{name.partition('.')[2]}"
    keras_io.save_weights(ours, back)
    theirs.load_weights(back)
    np.testing.assert_allclose(theirs(x, training=False), expected, rtol=2e-5, atol=1e-5)


def nested(path):
    """A nested model in a whole-model file, after a layer and before one."""
    k = keras.layers
    inner = keras.Sequential([keras.Input((3,)), k.Dense(4, name="zeta"), k.Dense(5, name="alpha")], name="inner")
    theirs = keras.Sequential([keras.Input((2,)), k.Dense(3, name="q"), inner, k.Dense(2, name="a")])
    theirs.compile("adam", "mse")
    theirs.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
    save(theirs, path)
    return theirs


@pytest.mark.parametrize("name", FORMATS)
def test_nested_models_and_optimizers_are_read_through(tmp_path, name):
    theirs = nested(tmp_path / name)
    ours = layers.Sequential(
        [layers.Dense(2, 3), layers.Sequential([layers.Dense(3, 4), layers.Dense(4, 5)]), layers.Dense(5, 2)]
    )
    report = keras_io.load_weights(ours, tmp_path / name)
    x = np.random.default_rng(0).uniform(size=(3, 2)).astype(np.float32)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5)
    places = {"x.h5": ("q/kernel", "inner/kernel")}.get(name, ("q/0", "zeta/0"))
    assert report.pairs[0] == ("layers.0.kernel", places[0])
    assert report.pairs[2] == ("layers.1.layers.0.kernel", places[1])


class Named(tf.Module):
    def __init__(self):
        super().__init__()
        self.last, self.first = layers.Dense(4, 2), layers.Dense(3, 4)
        self.other = layers.Dense(3, 4)


@pytest.mark.parametrize("name", FORMATS)
def test_layers_are_found_by_name(tmp_path, name):
    theirs = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="first"), keras.layers.Dense(2, name="last")]
    )
    save(theirs, tmp_path / name)
    ours = Named()
    kept = ours.other.kernel.numpy()
    keras_io.load_weights(ours, tmp_path / name, by_name=True)
    np.testing.assert_array_equal(ours.last.kernel, theirs.layers[1].kernel)
    np.testing.assert_array_equal(ours.first.bias, theirs.layers[0].bias)
    np.testing.assert_array_equal(ours.other.kernel, kept)
    keras_io.load_weights(ours, tmp_path / name, names={"other": "first"})
    np.testing.assert_array_equal(ours.other.kernel, theirs.layers[0].kernel)
    with pytest.raises(engine.ModelFileError, match=r"there is no layer 'third' in the file; there are first, last"):
        keras_io.load_weights(ours, tmp_path / name, names={"other": "third"})
    with pytest.raises(engine.ModelFileError, match=r"the model has no layer 'oter'; there are last, first, other"):
        keras_io.load_weights(ours, tmp_path / name, names={"oter": "first"})
    with pytest.raises(
        engine.ModelFileError, match=r"last Dense \(\[4, 2\], \[2\]\) here is first \(\[3, 4\], \[4\]\) in the"
    ):
        keras_io.load_weights(ours, tmp_path / name, names={"last": "first"})


def test_the_first_layer_that_disagrees_is_named_and_nothing_is_set(tmp_path):
    ours, theirs, _ = images()
    save(theirs, tmp_path / "x.weights.h5")
    model = layers.Sequential([*ours.layers[:9], layers.Dense(48, 7), layers.LayerNorm(7), layers.Dense(7, 2)])
    before = engine.weights_sha256(model)
    said = r"layer 6 with weights is layers\.9 Dense \(\[48, 7\], \[7\]\) here, and y \(\[48, 6\], \[6\]\) in the file"
    with pytest.raises(engine.ModelFileError, match=said):
        keras_io.load_weights(model, tmp_path / "x.weights.h5")
    shorter = layers.Sequential(list(ours.layers[:9]))
    with pytest.raises(
        engine.ModelFileError, match=r"6 layers with weights here, 9 in the file; the file goes on with y"
    ):
        keras_io.load_weights(shorter, tmp_path / "x.weights.h5")
    assert engine.weights_sha256(model) == before
    with pytest.raises(ValueError, match=r"must end in \.weights\.h5, \.h5 or \.keras"):
        keras_io.save_weights(ours, tmp_path / "x.npz")


def test_published_weights_names_are_read(tmp_path):
    """As in the ImageNet files: names of bytes, `:0` behind each weight, names in several attributes."""
    kernel, bias = np.ones((3, 4), np.float32), np.arange(4, dtype=np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"input_1"], [b"conv1_conv"]
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S")
        group = file.create_group("conv1_conv")
        group.attrs["weight_names"] = [b"conv1_conv/kernel:0", b"conv1_conv/bias:0"]
        group["conv1_conv/kernel:0"], group["conv1_conv/bias:0"] = kernel, bias
    dense = layers.Dense(3, 4)
    report = keras_io.load_weights(dense, tmp_path / "x.h5")
    assert report.pairs == (("kernel", "conv1_conv/kernel"), ("bias", "conv1_conv/bias"))
    np.testing.assert_array_equal(dense.bias, bias)


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")


@pytest.mark.parametrize("harm", ["text", "cut", "member", "linked", "nameless"])
def test_what_is_no_keras_file_is_refused(tmp_path, harm):
    path, dense = tmp_path / "x.h5", layers.Dense(3, 4)
    keras_io.save_weights(dense, path)
    content = path.read_bytes()
    if harm == "text":
        path.write_bytes(b"weights")
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "member":
        bomb(path)
    elif harm == "linked":
        with h5py.File(path, "a") as file:
            file["model/model/more"] = h5py.ExternalLink("/etc/passwd", "/x")
    else:
        with h5py.File(path, "a") as file:
            file.attrs["layer_names"] = np.array(["model", "more"], "S")
    with pytest.raises(engine.ModelFileError, match=str(path)):
        keras_io.load_weights(dense, path)
