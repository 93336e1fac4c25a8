"""Whole models in a file: bit for bit, without code, and nothing hostile gets through."""

import inspect
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from parts import classified, mlp, trainer

import data
import engine
import layers
import optim
from engine.files import models
from engine.testing import strategies
from layers import nets

ROOT = Path(__file__).parents[2]
LAYERS = {name: getattr(layers, name) for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
FEATURES, IMAGES, TIME = (3, 4), (2, 8, 8, 3), (2, 5, 4)

# What has no sizes to draw, and compositions: a model and the shape of its input.
COMPOSED = {
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(4, 3)), TIME),
    "RNN": (lambda: layers.RNN(layers.GRUCell(4, 3)), TIME),
    "StackedRNNCells": (
        lambda: layers.RNN(layers.StackedRNNCells([layers.LSTMCell(4, 3), layers.SimpleRNNCell(3, 2)])), TIME,
    ),
    "GRUCell": (lambda: layers.RNN(layers.GRUCell(4, 2)), TIME),
    "LSTMCell": (lambda: layers.RNN(layers.LSTMCell(4, 2)), TIME),
    "SimpleRNNCell": (lambda: layers.RNN(layers.SimpleRNNCell(4, 2)), TIME),
    "Lambda": (lambda: layers.Sequential([layers.Lambda("tensorflow.math.sin"), layers.Lambda("gelu")]), FEATURES),
    "MultiHeadAttention": (lambda: layers.MultiHeadAttention(4, num_heads=2, key_dim=2), TIME),
    "Parallel": (lambda: layers.Parallel([layers.Dense(4, 3), [layers.Dense(4, 2), layers.Dense(2, 3)]]), FEATURES),
    "PositionEmbedding": (lambda: layers.PositionEmbedding(max_length=7, features=4), TIME),
    "Residual": (lambda: layers.Residual([layers.Dense(4, 4, activation="gelu")]), FEATURES),
    "Sequential": (lambda: layers.Sequential([layers.Dense(4, 4), layers.activations.relu, tf.nn.relu6]), FEATURES),
    "TransformerEncoderBlock": (lambda: layers.TransformerEncoderBlock(4, num_heads=2, units=6), TIME),
    "WeightNorm": (lambda: layers.WeightNorm(layers.Dense(4, 3)), FEATURES),
    "SpectralNorm": (lambda: layers.SpectralNorm(layers.Dense(4, 3)), FEATURES),
    "Whitening": (lambda: layers.Whitening(3, epsilon=1e-2), IMAGES),
    "fast_cifar": (lambda: nets.fast_cifar((8, 8, 3), 5, filters=(26,), views=2), IMAGES),
    "recompute": (lambda: layers.recompute(layers.Dense(4, 3)), FEATURES),
    "initializers": (
        lambda: layers.Dense(
            4, 3,
            kernel_initializer=layers.initializers.truncated_normal(stddev=0.02),
            bias_initializer=layers.initializers.constant(np.arange(3.0)),
        ),
        FEATURES,
    ),
    "float64": (lambda: layers.Dense(4, 3, dtype="float64"), FEATURES),
    "cast": (lambda: engine.cast(nets.mlp((4,), 3), "float64"), FEATURES),
    "bfloat16": (lambda: engine.cast(nets.mlp((4,), 3), "bfloat16"), FEATURES),
    "mlp": (lambda: nets.mlp((4,), 3, dropout=0.5), FEATURES),
    "convnet": (lambda: nets.convnet((8, 8, 3), 5, filters=(4,), units=(6,), batch_norm=True), IMAGES),
    "chain": (lambda: layers.chain((4,), partial(layers.Dense, units=3), layers.LayerNorm), FEATURES),
}  # fmt: skip


def shaken(model):
    """The model, with other values than its constructors give."""
    rng = np.random.default_rng(0)
    for variable in engine.variable_paths(model).values():
        if variable.dtype.is_floating:
            variable.assign(tf.cast(rng.uniform(0.1, 0.9, variable.shape), variable.dtype))
    return model


def same(model, again, x):
    assert engine.weights_sha256(again) == engine.weights_sha256(model)
    for one, other in zip(tf.nest.flatten(model(x)), tf.nest.flatten(again(x)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", sorted(set(LAYERS) - set(COMPOSED)))
def test_every_layer_comes_back_bit_for_bit(tmp_path_factory, name):
    try:
        cases = strategies.layer_cases(LAYERS[name])
    except TypeError:
        pytest.skip("no inputs can be drawn for it: it is one of the compositions, or a base class")

    @settings(max_examples=4)
    @given(cases)
    def check(case):
        path = tmp_path_factory.mktemp("models") / "model.h5"
        layer, x = case
        engine.save_model(layer, path)
        same(layer, engine.load_model(path), x)

    check()


@pytest.mark.parametrize("name", sorted(COMPOSED))
def test_compositions_come_back_bit_for_bit(tmp_path, name):
    make, shape = COMPOSED[name]
    model = shaken(make())
    engine.save_model(model, tmp_path / "model.h5")
    dtype = next((v.dtype for v in engine.variable_paths(model).values() if v.dtype.is_floating), tf.float32)
    x = tf.cast(np.random.default_rng(1).uniform(-1, 1, shape), dtype)
    same(model, engine.load_model(tmp_path / "model.h5"), x)


def test_a_process_that_made_nothing_loads_it(tmp_path):
    model = shaken(nets.convnet((8, 8, 3), 5, filters=(4,), units=(6,), batch_norm=True))
    engine.save_model(model, tmp_path / "model.h5")
    script = "import engine, layers; print(engine.weights_sha256(engine.load_model('model.h5')))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.strip() == engine.weights_sha256(model), done.stderr


def test_shared_layers_stay_shared_and_frozen_ones_frozen(tmp_path):
    dense = layers.Dense(4, 4)
    model = layers.Sequential([dense, layers.BatchNorm(4), dense, layers.Dense(4, 2)])
    model.layers[1].trainable = False
    engine.save_model(model, tmp_path / "m.h5")
    again = engine.load_model(tmp_path / "m.h5")
    assert again.layers[0] is again.layers[2]
    assert [layer.trainable for layer in again.layers] == [True, False, True, True]
    assert len(engine.trainable_variables(again)) == len(engine.trainable_variables(model)) == 4


def test_the_optimizer_goes_on_where_it_stood(tmp_path):
    def made(model):
        rule = optim.chain(optim.clip_by_global_norm(1.0), optim.AdamW(0.01))
        return trainer(model, optimizer=rule), rule

    one, rule = made(mlp())
    pipeline = data.Pipeline(classified(), 10, shuffle=False)
    one.fit(pipeline, max_steps=5)
    engine.save_model(one.model, tmp_path / "m.h5", optimizer=rule, training={"classes": ["a", "b"], "epochs": 1})
    fresh = optim.chain(optim.clip_by_global_norm(1.0), optim.AdamW(0.01))
    model, notes = models.read_model(tmp_path / "m.h5", optimizer=fresh)
    assert notes == {"classes": ["a", "b"], "epochs": 1}
    other = trainer(model, optimizer=fresh)
    for made_before in (one, other):
        made_before.fit(pipeline, max_steps=int(made_before.state.step) + 5)
    assert engine.weights_sha256(other.model) == engine.weights_sha256(one.model)
    with pytest.raises(engine.ModelFileError, match=r"optimizer .* is missing in the"):
        engine.load_model(tmp_path / "m.h5", optimizer=optim.SGD(0.1))
    engine.save_model(one.model, tmp_path / "bare.h5")
    with pytest.raises(engine.ModelFileError, match="holds no optimizer"):
        engine.load_model(tmp_path / "bare.h5", optimizer=fresh)


class Unknown(layers.Layer):
    def __call__(self, x):
        return x


@layers.register(name="tests.Scaled")
class Scaled(layers.Layer):
    def __init__(self, features, scale=(1.0, float("inf")), *, dtype=tf.float32):
        super().__init__(dtype)
        self.gain, self.scale = self.variable("gain", [features], "ones"), scale

    def __call__(self, x):
        return x * self.gain


def test_a_layer_of_ones_own_is_saved_once_it_is_registered(tmp_path):
    model = shaken(layers.Sequential([Scaled(4, scale=(2.0, float("nan")))]))
    engine.save_model(model, tmp_path / "m.h5")
    again = engine.load_model(tmp_path / "m.h5")
    assert type(again.layers[0]) is Scaled
    assert engine.weights_sha256(again) == engine.weights_sha256(model)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: layers.Sequential([lambda x: x]), r"Sequential\[0\]\[0\]: <function .* layers.register"),
        (lambda: layers.Sequential([Unknown()]), r"Unknown can't be saved: @layers.register"),
        (lambda: tf.Module(), "Module can't be saved"),
    ],
)
def test_what_can_not_be_saved_is_named_and_leaves_nothing(tmp_path, model, said):
    with pytest.raises(ValueError, match=said):
        engine.save_model(model(), tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_changed_after_it_was_made_is_refused(tmp_path):
    model = nets.mlp((4,), 3)
    model.extra = tf.Variable(1.0)
    with pytest.raises(ValueError, match="extra is not what the constructors make"):
        engine.save_model(model, tmp_path / "m.h5")
    with pytest.raises(ValueError, match="training must be what JSON can hold"):
        engine.save_model(nets.mlp((4,), 3), tmp_path / "m.h5", training={"x": object()})


def test_a_name_stands_for_one_thing():
    with pytest.raises(ValueError, match=r"'Dense' is layers.dense.Dense; give .*Other another name"):

        @layers.register(name="Dense")
        class Other:
            pass


# Hostile files.


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.h5"
    engine.save_model(shaken(layers.Sequential([layers.Dense(4, 3), layers.BatchNorm(3)])), path)
    return path


def with_structure(file, folder, change):
    """A copy whose structure is another, and whose checksum fits."""
    path = folder / "changed.h5"
    shutil.copy(file, path)
    with h5py.File(path, "a") as opened:
        structure = json.loads(opened["structure"][()].tobytes())
        structure = change(structure) or structure
        del opened["structure"]
        text = structure if isinstance(structure, bytes) else json.dumps(structure).encode()
        opened.create_dataset("structure", data=np.frombuffer(text, np.uint8))
        opened.attrs["sha256"] = models._sha256(models.datasets(opened))
    return path


def layer(name, *args, **kwargs):
    return {"layer": name, "args": list(args), "kwargs": kwargs}


def deep(levels):
    node = layer("Dense", 4, 3)
    for _ in range(levels):
        node = layer("Sequential", [node])
    return node


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (layer("os.system", "true"), "'os.system' is not registered"),
        (layer("Lambda", "os.system"), "the file names the function 'os.system'"),
        (layer("Lambda", "tensorflow.io.write_file"), "the file names the function"),
        (layer("Lambda", "tensorflow.nn.__loader__"), "the file names the function"),
        (layer("Sequential", [{"function": "subprocess.run"}]), "'subprocess.run' is not registered"),
        (layer("Dense", 4, 3, activation="os.system"), "Dense can't be made of what the file says"),
        (layer("Dense", 4, 3, kernel_initializer="os.system"), "Dense can't be made"),
        (layer("Dense", 10**9, 10**9), "weights (kernel must be|bias is missing)"),
        (layer("Dense", 10**30, 3), "Dense can't be made"),
        (layer("Dense", "a", []), "Dense can't be made"),
        (layer("Dense", 4, 3, nonsense=1), "Dense can't be made"),
        (layer("Dense", {"shared": 0}, 3), "there is no layer 0"),
        (layer("Dense", {"array": -1}, 3), "there is no array -1"),
        (layer("Dense", {"evil": 1}, 3), "something unknown"),
        (layer("Dense", {"float": "1e5"}, 3), "expected inf"),
        (layer("Dense", {"dtype": "resource99"}, 3), "there is no dtype"),
        ({"object": "Dense", "fields": {}}, "'Dense' is no dataclass"),
        ({"object": "initializers.constant", "fields": {"a": 1}}, "can't be made"),
        ({"function": "activations.relu"}, "must be of a layer, found function"),
        (5, "model of the structure is of another kind"),
        (deep(100), "more than 60 deep"),
        (layer("Sequential", [0] * 200_000), "of more than 100000 parts"),
        (layer("Dense", "x" * 20_000, 3), "a text of 20000 characters"),
    ],
    ids=range(23),
)
def test_a_structure_that_no_saver_wrote_is_refused(file, tmp_path, model, said):
    path = with_structure(file, tmp_path, lambda structure: structure.update(model=model))
    with pytest.raises(engine.ModelFileError, match=said) as error:
        engine.load_model(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"", b"[1, 2", b"[" * 100_000, b"{}", b"null", b"\xff\xfe", b'{"model": {}}'])
def test_a_structure_that_is_none_is_refused(file, tmp_path, text):
    with pytest.raises(engine.ModelFileError, match="structure"):
        engine.load_model(with_structure(file, tmp_path, lambda _: text or b" "))


def soft(opened):
    opened["weights/more"] = h5py.SoftLink("/weights")


def external(opened):
    opened["weights/more"] = h5py.ExternalLink("/etc/passwd", "/x")


def twice(opened):
    opened["weights/more"] = opened["weights/layers.0.kernel"]


def empty(opened):
    opened.create_dataset("weights/more", shape=(10**6, 10**6), dtype="f8")


def packed(opened):
    opened.create_dataset("weights/more", data=np.zeros(10**6), compression="gzip")


def objects(opened):
    opened.create_dataset("weights/more", data=["text"], dtype=h5py.string_dtype())


def outside(opened):
    opened.create_dataset("weights/more", shape=(4,), dtype="f8", external=[("/etc/hostname", 0, 32)])


def more(opened):
    opened["pickle"] = np.zeros(3)


def other_format(opened):
    opened.attrs["tapeline"] = 9


@pytest.mark.parametrize("harm", [soft, external, twice, empty, packed, objects, outside, more, other_format])
def test_contents_that_no_saver_wrote_are_refused(file, tmp_path, harm):
    path = tmp_path / "harmed.h5"
    shutil.copy(file, path)
    with h5py.File(path, "a") as opened:
        harm(opened)
    with pytest.raises(engine.ModelFileError, match=str(path)):
        engine.load_model(path)


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "m.h5").write_bytes(content)
    with pytest.raises(engine.ModelFileError, match="no file of a model"):
        engine.load_model(tmp_path / "m.h5")
    with pytest.raises(engine.ModelFileError, match="there is no such file"):
        engine.load_model(tmp_path / "none.h5")


def harmed(file, folder, cases, draw):
    """Every harmed copy is refused, or is the very model: never another one, a crash or another error."""
    content, sound = file.read_bytes(), engine.weights_sha256(engine.load_model(file))
    path = folder / "harmed.h5"
    for _ in range(cases):
        path.write_bytes(draw(bytearray(content)))
        try:
            assert engine.weights_sha256(engine.load_model(path)) == sound
        except engine.ModelFileError as error:
            assert str(path) in str(error)  # noqa: PT017 - both ends are right


def flips(rng):
    def draw(content):
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            content[at] ^= 1 << rng.integers(0, 8)
        return bytes(content)

    return draw


def cuts(rng):
    return lambda content: bytes(content[: rng.integers(0, len(content))])


@pytest.mark.parametrize("kind", [flips, cuts])
def test_flipped_bits_and_cut_files_never_load_as_another_model(file, tmp_path, kind):
    harmed(file, tmp_path, 120, kind(np.random.default_rng(0)))


@pytest.mark.soak
@pytest.mark.parametrize("kind", [flips, cuts])
def test_thousands_of_harmed_files(file, tmp_path, kind):
    harmed(file, tmp_path, 5000, kind(np.random.default_rng(1)))
