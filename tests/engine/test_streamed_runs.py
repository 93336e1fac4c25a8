"""A run over a stream, stopped anywhere and resumed, is the undisturbed run: by its iterator, or by reading over."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from parts import classified, trainer

import data
import engine
from engine.files import checkpoints
from engine.files.restoring import Reader

SOURCE = classified(30)
STEPS = 17


class Stream:
    """The examples of `SOURCE`, one after the other; `read` counts them."""

    arrays, length, info, examples = None, None, SOURCE.info, len(SOURCE)

    def dataset(self, shard=None):
        return tf.data.Dataset.from_tensor_slices(SOURCE.arrays)


def pipeline(**options):
    return data.Pipeline(Stream(), 4, shuffle=7, augment=noisy, **options)


def noisy(batch, draws):
    return {**batch, "inputs": batch["inputs"] + draws.uniform(6)}


def fitted(directory=None, max_steps=STEPS, hooks=(), train=None, **options):
    run = trainer(steps_per_loop=3)
    if directory:
        hooks = [*hooks, engine.hooks.Checkpoint(directory, every=5, **options)]
    history = run.fit(train or pipeline(), max_steps=max_steps, hooks=hooks)
    return engine.weights_sha256(run.model), history


@pytest.fixture(scope="module")
def undisturbed():
    return fitted()[0]


@pytest.fixture(scope="module")
def first_part(tmp_path_factory):
    """A run of 11 steps, which end inside an epoch of 8."""
    folder = tmp_path_factory.mktemp("stopped")
    fitted(folder, max_steps=11)
    return folder


@pytest.fixture
def stopped(first_part, tmp_path):
    return shutil.copytree(first_part, tmp_path / "run")


@pytest.fixture
def sources_read(monkeypatch):
    """The steps at which pipelines were asked to begin, and the states that iterators were restored from."""
    begun, restored = [], []
    training, deserialize = data.Pipeline.training, tf.raw_ops.DeserializeIterator
    monkeypatch.setattr(
        data.Pipeline,
        "training",
        lambda self, *where, **shard: begun.append(where[1:]) or training(self, *where, **shard),
    )
    monkeypatch.setattr(
        tf.raw_ops, "DeserializeIterator", lambda **given: restored.append(given) or deserialize(**given)
    )
    return begun, restored


def test_a_run_that_is_resumed_goes_on_with_its_iterator(stopped, undisturbed, sources_read):
    found, history = fitted(stopped)
    assert history.resumed_from == 11
    assert found == undisturbed
    assert len(sources_read[1]) == 1


def test_without_the_iterator_s_state_the_run_reads_over_what_lies_before(stopped, undisturbed, sources_read):
    assert fitted(stopped, drop="iterator")[0] == undisturbed
    assert sources_read == ([(1, 3)], [])


def test_the_iterator_is_an_entry_of_the_checkpoint(stopped):
    reader = Reader(checkpoints.latest(stopped))
    assert reader.get("hooks.iterator.position").tolist() == [1, 3]
    assert len(reader.get("hooks.iterator.state")) > 100


def test_a_second_fit_goes_on_where_the_first_ended(undisturbed):
    run = trainer(steps_per_loop=3)
    run.fit(pipeline(), max_steps=11)
    run.fit(pipeline(), max_steps=STEPS)
    assert engine.weights_sha256(run.model) == undisturbed


@pytest.mark.parametrize("ahead", [False, True])
def test_a_batch_that_was_fetched_ahead_is_not_lost(tmp_path, undisturbed, ahead):
    """Where slices go to an accelerator, the next one is on its way when a loop is stopped, as by a signal."""
    usual = engine.Supervised("sparse_categorical_crossentropy")

    def stopping(model, batch, training):
        with tf.control_dependencies([run._stop.assign(tf.equal(training.step, 9))]):
            return usual(model, batch, training)

    run = trainer(steps_per_loop=3)
    run.objective, run.replicas.copies_ahead = stopping, ahead
    history = run.fit(pipeline(), max_steps=STEPS, hooks=[engine.hooks.Checkpoint(tmp_path)])
    assert (history.stopped_by, int(run.state.step)) == ("signal", 10)
    assert fitted(tmp_path)[0] == undisturbed


def test_an_iterator_of_another_form_is_refused_in_one_line(stopped):
    other = data.Pipeline(Stream(), 4, shuffle=False)
    with pytest.raises(ValueError, match=r"^the saved iterator does not fit this pipeline: drop the state [^\n]*$"):
        fitted(stopped, train=other)


def test_evaluation_and_prediction_read_a_stream_in_its_order():
    run = trainer()
    streamed, indexed = (data.Pipeline(source, 7, shuffle=False) for source in (Stream(), SOURCE))
    assert run.evaluate(streamed) == run.evaluate(indexed)
    np.testing.assert_array_equal(run.predict(streamed), run.predict(indexed))


class Broken:
    """A source whose row 25 can't be read."""

    arrays, info = None, SOURCE.info

    def __len__(self):
        return len(SOURCE)

    def __getitem__(self, indices):
        if 25 in indices:
            raise ValueError("pictures/25.png: row 25: truncated; put it back")
        return SOURCE[indices]


def test_what_a_source_says_of_a_row_ends_fit_and_prediction():
    broken, run = data.Pipeline(Broken(), 4), trainer()
    for read in (lambda: run.fit(broken, epochs=1), lambda: run.predict(broken)):
        with pytest.raises(ValueError, match=r"^pictures/25.png: row 25: truncated; put it back$"):
            read()


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_step_that_is_not_finite_is_left_behind_in_a_stream_too(tmp_path, policy):
    inputs = SOURCE.arrays["inputs"].copy()
    inputs[17] = np.nan
    arrays = data.Arrays(inputs, SOURCE.arrays["labels"])

    class Odd(Stream):
        def dataset(self, shard=None):
            return tf.data.Dataset.from_tensor_slices(arrays.arrays)

    found = []
    for name, source in (("streamed", Odd()), ("indexed", arrays)):
        run = trainer(steps_per_loop=3, on_non_finite=policy)
        hooks = [engine.hooks.Checkpoint(tmp_path / name, every=2)]
        run.fit(data.Pipeline(source, 4, shuffle=False), max_steps=14, hooks=hooks)
        found.append((engine.weights_sha256(run.model), int(run.state.epoch), int(run.state.index)))
    assert found[0] == found[1]
