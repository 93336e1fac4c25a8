"""A network whose activation is a program of its own, under every way to train."""

import cuts
import numpy as np
import pytest
import tensorflow as tf

import engine
import optim
from layers import nets

LOSS = "sparse_categorical_crossentropy"
RANDOM = np.random.default_rng(0)
ARRAYS = {
    "inputs": RANDOM.uniform(size=[16, 8, 8, 3]).astype(np.float32),
    "labels": RANDOM.integers(0, 4, 16).astype(np.int32),
}


def network():
    tf.random.set_seed(0)
    return nets.FastCifar(3, 4, filters=(25, 26)).fit(ARRAYS["inputs"])


def losses(**options):
    made = cuts.trainer(network, LOSS, lambda: optim.SGD(0.1), **options)
    return made.fit(cuts.Batches(ARRAYS, 8), max_steps=4).steps["loss"]


@pytest.fixture(scope="module")
def eagerly():
    """The same steps, of plain operations."""
    tf.config.run_functions_eagerly(True)
    try:
        return losses()
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    "options",
    [{}, {"check_numerics": True}, {"jit_compile": True}, {"jit_compile": "loop"}, {"replicas": 2}],
    ids=str,
)
def test_it_trains_alike(eagerly, options):
    # Batch statistics of two replicas are their own.
    np.testing.assert_allclose(losses(**options), eagerly, rtol=0.2 if "replicas" in options else 2e-3)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_trains_in_parts_of_a_batch(jit_compile):
    found = losses(accumulate_steps=2, jit_compile=jit_compile)
    np.testing.assert_allclose(found, losses(accumulate_steps=2, check_numerics=True), rtol=2e-3)


def test_a_step_that_is_not_finite_is_told_of_with_its_layer():
    arrays = {
        **ARRAYS,
        "inputs": np.where(np.arange(16)[:, None, None, None] == 9, np.float32(np.inf), ARRAYS["inputs"]),
    }
    made = cuts.trainer(network, LOSS, lambda: optim.SGD(0.1))
    with pytest.raises(engine.NonFinite, match="step 2"):
        made.fit(cuts.Batches(arrays, 8), max_steps=4)


def test_an_export_of_it_needs_no_compiler(tmp_path):
    model = network()
    spec = tf.TensorSpec([None, 8, 8, 3])
    engine.export(model, tmp_path / "export", spec)
    served = tf.saved_model.load(str(tmp_path / "export")).signatures["serving_default"]
    found = served(inputs=tf.constant(ARRAYS["inputs"]))["outputs"]
    np.testing.assert_allclose(found, model(ARRAYS["inputs"]), rtol=1e-5, atol=1e-6)
    graph = served.graph.as_graph_def()
    functions = [function.attr for function in graph.library.function]
    assert not any("_XlaMustCompile" in attributes and attributes["_XlaMustCompile"].b for attributes in functions)
