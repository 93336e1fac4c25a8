"""Weights travel from real Keras files and into real Keras models, and both compute the same."""

import contextlib
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


def blocks():
    """Convolutions and normalisations of a residual network, each larger than what HDF5 puts together."""
    k = keras.layers
    x = inputs = keras.Input((4, 4, 12))
    for number in range(6):
        y = k.Conv2D(12, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        y = k.BatchNormalization(name=f"norm{number}")(y)
        x = k.Add()([x, k.ReLU()(y)])
    theirs = keras.Model(inputs, k.Dense(3)(k.GlobalAveragePooling2D()(x)))
    ours = layers.Sequential(
        [
            layers.Residual(
                layers.Sequential([layers.Conv2D(12, 12, 3, padding="same", use_bias=False), layers.BatchNorm(12),
                                   layers.activations.relu])
            )
            for _ in range(6)
        ]
        + [layers.GlobalAveragePool2D(), layers.Dense(12, 3)]
    )  # fmt: skip
    return ours, theirs, np.random.default_rng(1).uniform(size=(2, 4, 4, 12)).astype(np.float32)


def stacked():
    """More cells than one digit counts, of two classes, and a layer for every step."""
    k = keras.layers
    kinds = [k.GRUCell if number == 3 else k.LSTMCell for number in range(12)]
    theirs = keras.Sequential(
        [keras.Input((3, 2)), k.RNN([kind(2) for kind in kinds], return_sequences=True), k.TimeDistributed(k.Dense(3))]
    )
    cells = [(layers.GRUCell if number == 3 else layers.LSTMCell)(2, 2) for number in range(12)]
    ours = layers.Sequential([layers.RNN(cells, return_sequences=True), layers.Dense(2, 3)])
    return ours, theirs, np.random.default_rng(1).uniform(size=(2, 3, 2)).astype(np.float32)


def save(theirs, path):
    theirs.save(path) if path.name == "x.h5" or path.suffix == ".keras" else theirs.save_weights(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("make", [images, sequences, attention, blocks])
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
    places = {"x.h5": ("q/kernel", "zeta/kernel")}.get(name, ("q/0", "zeta/0"))
    found = dict(report.pairs)
    assert found["layers.0.kernel"].endswith(places[0])
    assert found["layers.1.layers.0.kernel"].endswith(places[1])


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


def text(path):
    path.write_bytes(b"weights")


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def zipped(path, name="config.json", content=b"{}", packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr(name, content)


def packed(path):
    zipped(path, "model.weights.h5", path.read_bytes(), zipfile.ZIP_DEFLATED)


def deep(path):
    keras_io.save_weights(layers.Dense(3, 4), path.with_suffix(".keras"))
    with zipfile.ZipFile(path.with_suffix(".keras"), "a") as archive:
        archive.writestr("config.json", '{"config":{"layer":' * 10_000 + "}" * 20_000)
    path.with_suffix(".keras").replace(path)


def changed(change):
    def harm(path):
        with h5py.File(path, "a") as file:
            change(file)

    return harm


@changed
def linked(file):
    file["model/model/more"] = h5py.ExternalLink("/etc/passwd", "/x")


@changed
def elsewhere(file):
    file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/x")


@changed
def nameless(file):
    file.attrs["layer_names"] = np.array(["model", "more"], "S")


@changed
def numbers(file):
    file.attrs["layer_names"] = np.arange(3)


@changed
def above(file):
    file["model"].attrs["weight_names"] = ["../model/model/kernel"]


@changed
def configuration(file):
    file.attrs["model_config"] = "[" * 5000


@pytest.mark.parametrize(
    "harm",
    [text, cut, zipped, packed, deep, linked, elsewhere, nameless, numbers, above, configuration],
    ids=range(11),
)
def test_what_is_no_keras_file_is_refused(tmp_path, harm):
    path, dense = tmp_path / "x.h5", layers.Dense(3, 4)
    keras_io.save_weights(dense, path)
    harm(path)
    before = engine.weights_sha256(dense)
    with pytest.raises(engine.ModelFileError, match=str(path)) as error:
        keras_io.load_weights(dense, path)
    assert "\n" not in str(error.value)
    assert engine.weights_sha256(dense) == before


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    """Files of Keras have no checksum: a flipped bit of a weight is another weight, but never another error."""
    model = layers.Sequential([layers.LSTM(2, 3), layers.Dense(3, 2)])
    keras_io.save_weights(model, tmp_path / name)
    content, rng, path = (tmp_path / name).read_bytes(), np.random.default_rng(0), tmp_path / f"harmed.{name}"
    for number in range(150):
        harmed = bytearray(content if number % 3 else content[: rng.integers(1, len(content))])
        for at in rng.integers(0, min(len(harmed), 4000), 2):
            harmed[at] ^= 1 << rng.integers(0, 8)
        path.write_bytes(harmed)
        with contextlib.suppress(engine.ModelFileError):
            keras_io.load_weights(model, path)


@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras"])
def test_parts_in_lists_and_wrappers_are_found(tmp_path, name):
    ours, theirs, x = stacked()
    shaken(theirs.weights)
    save(theirs, tmp_path / name)
    keras_io.load_weights(ours, tmp_path / name)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=2e-5, atol=1e-5)


def alike(path):
    """Layers of one class in a model in a model, which no shape tells apart, some of them frozen."""
    k = keras.layers
    inner = keras.Sequential(
        [keras.Input((4,)), k.BatchNormalization(), k.Dense(4), k.BatchNormalization(), k.Dense(4)], name="inner"
    )
    theirs = keras.Sequential([keras.Input((4,)), k.Dense(4), inner, k.Dense(4)])
    inner.layers[1].trainable = False
    shaken(theirs.weights)
    save(theirs, path)
    middle = [layers.BatchNorm(4), layers.Dense(4, 4), layers.BatchNorm(4), layers.Dense(4, 4)]
    return layers.Sequential([layers.Dense(4, 4), layers.Sequential(middle), layers.Dense(4, 4)]), theirs


@pytest.mark.parametrize("name", ["x.keras", "x.h5"])
def test_the_configuration_tells_what_shapes_cannot(tmp_path, name):
    ours, theirs = alike(tmp_path / name)
    keras_io.load_weights(ours, tmp_path / name)
    x = np.random.default_rng(0).uniform(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(ours(x), theirs(x, training=False), rtol=1e-5)


def test_an_order_that_is_not_in_the_file_is_not_guessed(tmp_path):
    path = tmp_path / "x.weights.h5"
    k = keras.layers
    inner = keras.Sequential([keras.Input((4,)), k.Dense(4, name="in")])
    theirs = keras.Sequential([keras.Input((4,)), k.Dense(4, name="a"), inner, k.Dense(4, name="b")])
    theirs.save_weights(path)
    ours = layers.Sequential([layers.Dense(4, 4) for _ in range(3)])
    before = engine.weights_sha256(ours)
    with pytest.raises(engine.ModelFileError, match="order of its layers is not in the file, and several would do"):
        keras_io.load_weights(ours, path)
    assert engine.weights_sha256(ours) == before
    keras_io.load_weights(ours, path, names={"layers.0": "a", "layers.1": "sequential/dense", "layers.2": "b"})
    np.testing.assert_array_equal(ours.layers[1].kernel, inner.layers[0].kernel)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        k = keras.layers
        self.encoder, self.heads = k.LSTM(3), [k.Dense(2), k.Dense(2)]

    def call(self, x):
        x = self.encoder(x)
        return self.heads[0](x) - self.heads[1](x)


class Heads(tf.Module):
    def __init__(self):
        super().__init__()
        self.heads, self.encoder = [layers.Dense(3, 2), layers.Dense(3, 2)], layers.LSTM(2, 3)

    def __call__(self, x):
        x = self.encoder(x)
        return self.heads[0](x) - self.heads[1](x)


def test_attributes_of_a_model_are_found_by_name_alone(tmp_path):
    theirs, ours, x = Subclassed(), Heads(), np.random.default_rng(0).uniform(size=(2, 4, 2)).astype(np.float32)
    expected = theirs(x)
    theirs.save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(engine.ModelFileError, match=r"attributes of a model \(encoder or heads\), without an order"):
        keras_io.load_weights(ours, tmp_path / "x.weights.h5")
    names = {"heads.0": "heads/dense", "heads.1": "heads/dense_1"}
    report = keras_io.load_weights(ours, tmp_path / "x.weights.h5", names=names)
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)
    assert (report.unset, report.unused) == ((), ())


def test_what_goes_by_name_is_never_left_out_in_silence(tmp_path):
    path = tmp_path / "x.h5"
    k = keras.layers
    keras.Sequential([keras.Input((3,)), k.Dense(4, name="first"), k.Dense(2, name="top")]).save(path)
    ours = Named()
    report = keras_io.load_weights(ours, path, by_name=True)
    assert report.unset == ("last.bias", "last.kernel", "other.bias", "other.kernel")
    assert [weight.rpartition("/")[2] for weight in report.unused] == ["kernel", "bias"]
    assert "unset: last.bias" in str(report)
    with pytest.raises(
        engine.ModelFileError, match=r"no layer here has a name that is in the file; there are first, top"
    ):
        keras_io.load_weights(layers.Sequential([layers.Dense(3, 4)]), path, by_name=True)
    twice = tf.Module()
    twice.left, twice.right = Named(), Named()
    with pytest.raises(engine.ModelFileError, match=r"2 layers here are called 'first', such as left\.first"):
        keras_io.load_weights(twice, path, by_name=True)


def test_bfloat16_goes_both_ways(tmp_path):
    path = tmp_path / "x.weights.h5"
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype="bfloat16")])
    theirs.save_weights(path)
    ours = layers.Dense(3, 4, dtype=tf.bfloat16)
    keras_io.load_weights(ours, path)
    np.testing.assert_array_equal(ours.kernel, theirs.layers[0].kernel)
    ours.kernel.assign(2 * ours.kernel)
    keras_io.save_weights(ours, path)
    theirs.load_weights(path)
    np.testing.assert_array_equal(ours.kernel, theirs.layers[0].kernel)


def test_more_names_than_an_attribute_holds_come_back(tmp_path):
    class Wide(tf.Module):
        def __init__(self):
            super().__init__()
            for number in range(250):
                setattr(self, f"{'layer' * 60}_{number}", layers.Dense(1, 1))

    one, other = Wide(), Wide()
    keras_io.save_weights(one, tmp_path / "x.h5")
    keras_io.load_weights(other, tmp_path / "x.h5", by_name=True)
    assert engine.weights_sha256(one) == engine.weights_sha256(other)
