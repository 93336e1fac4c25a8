"""What is exported computes what the model computes, where nobody has this code."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import layers
from layers import nets

ALONE = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load("export")
assert not {"engine", "layers", "optim", "data"} & set(sys.modules)
for size in (1, 4):
    x = tf.constant(np.load("x.npy")[:size])
    np.save(f"y{size}.npy", model.signatures["serving_default"](inputs=x)["outputs"].numpy())
"""


def test_a_process_that_never_saw_this_code_computes_the_same(tmp_path):
    model = nets.convnet((8, 8, 1), 3, filters=(4,), units=(5,), dropout=0.5, batch_norm=True)
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    spec = tf.TensorSpec([None, 8, 8, 1], tf.uint8)
    engine.export(model, tmp_path / "export", spec, preprocess=lambda x: data.to_float({"inputs": x})["inputs"])
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", ALONE]
    # Away from the folder of the code, and without an installed one.
    done = subprocess.run([*command[:1], "-I", *command[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    expected = model(x.astype(np.float32) / 255)
    for size in (1, 4):
        np.testing.assert_allclose(np.load(tmp_path / f"y{size}.npy"), expected[:size], rtol=1e-5, atol=1e-6)


class Pair(tf.Module):
    """Two inputs, and outputs by name."""

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Dense(3, 4), layers.Embedding(5, 4)

    def __call__(self, inputs):
        both = self.left(inputs["x"]) + self.right(inputs["id"])
        return {"both": both, "left": self.left(inputs["x"])}


def test_inputs_and_outputs_keep_their_names(tmp_path):
    model = Pair()
    specs = {"x": tf.TensorSpec([None, 3]), "id": tf.TensorSpec([None], tf.int32)}
    engine.export(model, tmp_path / "pair", specs)
    batch = {"x": tf.ones([2, 3]), "id": tf.constant([1, 4])}
    found = tf.saved_model.load(str(tmp_path / "pair")).signatures["serving_default"](**batch)
    assert set(found) == {"both", "left"}
    np.testing.assert_allclose(found["both"], model(batch)["both"], rtol=1e-6)


@pytest.mark.parametrize("make", [lambda: layers.LSTM(4, 3), lambda: layers.Bidirectional(layers.GRU(4, 3))])
def test_recurrent_layers_are_exported_with_unknown_lengths(tmp_path, make):
    model = make()
    engine.export(model, tmp_path / "rnn", tf.TensorSpec([None, None, 4]), name="encode")
    x = tf.random.stateless_normal([2, 7, 4], [0, 1])
    found = tf.saved_model.load(str(tmp_path / "rnn")).signatures["encode"](inputs=x)["outputs"]
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-6)


def test_an_export_is_replaced_whole_and_nothing_else_is_touched(tmp_path):
    first, second = layers.Dense(3, 2), layers.Dense(3, 2)
    example = np.ones((2, 3), np.float32)
    engine.export(first, tmp_path / "e", example)
    engine.export(second, tmp_path / "e", example)
    found = tf.saved_model.load(str(tmp_path / "e")).signatures["serving_default"](inputs=tf.constant(example))
    np.testing.assert_allclose(found["outputs"], second(example), rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["e"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="mine holds something that is no export"):
        engine.export(first, tmp_path / "mine", example)
    assert (tmp_path / "mine" / "thesis.txt").exists()


class Drifting(tf.Module):
    """Traced it computes something else than eagerly."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3, 2)

    def __call__(self, x):
        return self.dense(x) + (0.0 if tf.executing_eagerly() else 1.0)


class Scaling(tf.Module):
    """Traced it multiplies by another number; of 0 nobody sees that. With `poles` outputs that are not finite."""

    def __init__(self, poles=()):
        super().__init__()
        self.weight, self.poles = tf.Variable(1.0), list(poles)

    def __call__(self, x):
        y = self.weight * x * (1.0 if tf.executing_eagerly() else 5.0)
        return tf.concat([y, tf.zeros_like(y[:, :1]) + self.poles], 1) if self.poles else y


class Words(tf.Module):
    def __call__(self, x):
        return tf.strings.as_string(x)


def as_float(x):
    return tf.cast(x, tf.float32)


@pytest.mark.parametrize("poles", [(), (np.inf,), (np.nan, -np.inf)])
def test_integers_are_compared_on_real_ones_whatever_else_comes_out(tmp_path, poles):
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3)
    with pytest.raises(ValueError, match=r"outputs of the exported model is off by 20"):
        engine.export(
            Scaling(poles), tmp_path / "e", tf.TensorSpec([None, 3], tf.uint8), example=rows, preprocess=as_float
        )
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="outputs must be a tensor of numbers"):
        engine.export(Words(), tmp_path / "e", tf.TensorSpec([None]))


def test_an_export_that_computes_other_numbers_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="outputs of the exported model is off by 1"):
        engine.export(Drifting(), tmp_path / "e", tf.TensorSpec([None, 3]))
    with pytest.raises(ValueError, match="inputs must have a batch dimension"):
        engine.export(layers.Dense(3, 2), tmp_path / "e", tf.TensorSpec([]))
    assert list(tmp_path.iterdir()) == []
