"""A pipeline over a stream is a function of (seed, epoch, index) too, and its iterators can be saved anywhere."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from feeding import assert_equal_batches, noisy, taken
from hypothesis import given, settings
from hypothesis import strategies as st

import data

# Every example traces a few datasets.
few = settings(max_examples=5)


class Stream:
    """Numbers from 0, one after the other."""

    arrays, length = None, None

    def __init__(self, examples, says=None, more=None):
        self._count, self.examples = examples, says or examples
        self._more = more or (lambda dataset: dataset)
        self.info = data.Info("stream", 3)

    def dataset(self, shard=None):
        numbers = tf.data.Dataset.range(self._count)
        return self._more(numbers.map(lambda number: {"inputs": number, "labels": number % 3}))


@st.composite
def makers(draw):
    length = draw(st.integers(1, 40), "length")
    return functools.partial(
        data.Pipeline,
        Stream(length),
        draw(st.integers(1, length), "batch_size"),
        shuffle=draw(st.sampled_from([True, False, 1, 5]), "shuffle"),
        drop_remainder=draw(st.booleans(), "drop_remainder"),
        augment=draw(st.sampled_from([None, noisy]), "augment"),
        weights=draw(st.sampled_from([None, {1: 0.5}]), "weights"),
    )


pipelines = makers().map(lambda make: make())
workers = st.integers(1, 3)


@few
@given(makers(), st.integers(0, 2**64), st.integers(0, 2**20), st.data())
def test_a_position_and_a_saved_iterator_both_lead_to_what_would_have_come(make, seed, epoch, draw):
    """Also where another number of threads goes on."""
    pipeline = make(workers=draw.draw(workers))
    steps = pipeline.steps_per_epoch
    stop = draw.draw(st.integers(0, 2 * steps), "stop")
    dataset = pipeline.training(seed, epoch)
    unbroken = taken(dataset, stop + 4)
    resumed = make(workers=draw.draw(workers)).training(seed, epoch + stop // steps, stop % steps)
    assert_equal_batches(taken(resumed, 4), unbroken[stop:])
    iterator, fresh = iter(dataset), iter(resumed)
    for _ in range(stop):
        next(iterator)
    (handle,), (other,) = (tf.nest.flatten(one, expand_composites=True) for one in (iterator, fresh))
    saved = tf.io.serialize_tensor(tf.raw_ops.SerializeIterator(resource_handle=handle, external_state_policy=2))
    tf.raw_ops.DeserializeIterator(resource_handle=other, serialized=tf.io.parse_tensor(saved, tf.variant))
    assert_equal_batches([tf.nest.map_structure(lambda t: t.numpy(), next(fresh)) for _ in range(4)], unbroken[stop:])


@few
@given(pipelines, st.integers(0, 2**64), st.integers(0, 2**30))
def test_an_epoch_sees_each_example_exactly_once(pipeline, seed, epoch):
    batches = taken(pipeline.training(seed, epoch), pipeline.steps_per_epoch)
    sizes = [len(batch["labels"]) for batch in batches]
    seen = np.concatenate([batch["inputs"] for batch in batches])
    assert len(set(seen)) == len(seen)
    assert set(sizes[:-1]) <= {pipeline.batch_size}
    assert len(seen) == pipeline.examples or sizes[-1] == pipeline.batch_size > pipeline.examples - len(seen)


def test_epochs_and_seeds_differ_whatever_the_global_seed_is():
    pipeline = data.Pipeline(Stream(40), 40)
    orders = []
    for of_all in (1, 2):
        tf.random.set_seed(of_all)
        orders.append([taken(pipeline.training(seed), 3) for seed in (0, 1, -1)])
    for one, other in zip(*orders, strict=True):
        assert_equal_batches(one, other)
    assert len({batch["inputs"].tobytes() for run in orders[0] for batch in run}) == 9


def test_a_buffer_of_so_many_examples_moves_none_further_ahead():
    order = taken(data.Pipeline(Stream(40), 40, shuffle=5).training(0), 1)[0]["inputs"]
    assert np.all(order - np.arange(40) < 5)
    assert not np.array_equal(order, np.arange(40))
    unshuffled = taken(data.Pipeline(Stream(40), 40, shuffle=False).training(0), 1)[0]["inputs"]
    np.testing.assert_array_equal(unshuffled, np.arange(40))


@settings(max_examples=3)
@given(pipelines, st.integers(2, 3), st.data())
def test_all_shards_together_are_the_batches_and_the_evaluation(pipeline, count, draw):
    index = draw.draw(st.integers(0, pipeline.steps_per_epoch))
    for make, batches in (
        (lambda **shard: pipeline.training(0, 2, index, **shard), pipeline.steps_per_epoch + 1),
        (pipeline.evaluation, -1),
    ):
        shards = [taken(make(shard=(number, count)), batches) for number in range(count)]
        for parts, whole in zip(zip(*shards, strict=True), taken(make(), batches), strict=True):
            for name, array in whole.items():
                joined = np.concatenate([examples[name][:rows] for examples, _, rows in parts])
                np.testing.assert_array_equal(joined, array)
            assert [part[1] for part in parts] == [len(whole["inputs"]) * part // count for part in range(count)]


def test_evaluation_is_in_the_stream_s_order_and_its_length_is_known():
    pipeline = data.Pipeline(Stream(10), 4, augment=noisy, drop_remainder=True)
    dataset = pipeline.evaluation()
    assert dataset.cardinality() == 3
    assert [batch["inputs"].tolist() for batch in taken(dataset, -1)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert pipeline.training(0).element_spec["inputs"] == tf.TensorSpec([None], tf.int64)


def test_a_pipeline_says_that_its_iterator_is_to_be_saved():
    assert data.Pipeline(Stream(10), 4).saves_iterator
    assert not data.Pipeline(data.Arrays(np.arange(3)), 1).saves_iterator


@pytest.mark.parametrize("says", [9, 11])
def test_another_number_of_examples_than_the_source_says_stops_the_stream(says):
    pipeline = data.Pipeline(Stream(10, says=says), 3)
    with pytest.raises(tf.errors.FailedPreconditionError, match=f"{says}"):
        taken(pipeline.training(0), 6)


def generated(dataset):
    one = tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=tf.TensorSpec([], tf.int64))
    return dataset.flat_map(lambda example: one.map(lambda zero: {**example, "zero": zero}))


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (lambda stream: stream.map(lambda row: {**row, "noise": tf.random.uniform([], seed=1)}), "RandomUniform"),
        (
            lambda stream: stream.map(lambda row: {**row, "inputs": tf.py_function(abs, [row["inputs"]], tf.int64)}),
            "EagerPyFunc",
        ),
        (
            lambda stream: stream.map(lambda row: {**row, "inputs": tf.numpy_function(abs, [row["inputs"]], tf.int64)}),
            "PyFunc",
        ),
        (generated, "GeneratorDataset, PyFunc"),
        (
            lambda stream: tf.data.Dataset.zip((stream, tf.data.Dataset.random(1))).map(lambda row, _: row),
            "RandomDataset",
        ),
    ],
)
def test_what_has_a_state_of_its_own_is_refused_by_name(more, names):
    pipeline = data.Pipeline(Stream(10, more=more), 3)
    with pytest.raises(ValueError, match=f"^Pipeline: a stream can't be resumed with {names} in it: [^\n]*$"):
        pipeline.training(0)
    assert len(taken(pipeline.evaluation(), 1)) == 1


def test_a_stateful_augmentation_and_a_variable_are_refused_too():
    def stateful(batch, draws):
        return {**batch, "noise": tf.random.normal([1])}

    with pytest.raises(ValueError, match="RandomStandardNormal"):
        data.Pipeline(Stream(10), 3, augment=stateful).training(0)
    count = tf.Variable(0, dtype=tf.int64)
    counting = data.Pipeline(Stream(10), 3, transform=lambda batch: {**batch, "n": count.assign_add(1)})
    with pytest.raises(ValueError, match="AssignAddVariableOp"):
        counting.training(0)


def test_assertions_conditions_and_tables_that_stay_as_they_are_may_be_in_a_stream():
    keys = tf.lookup.KeyValueTensorInitializer(tf.range(10, dtype=tf.int64), tf.range(10, 20, dtype=tf.int64))
    table = tf.lookup.StaticHashTable(keys, -1)

    def looked_up(row):
        with tf.control_dependencies([tf.debugging.Assert(row["inputs"] >= 0, [row["inputs"]])]):
            found = tf.cond(row["inputs"] >= 0, lambda: table.lookup(row["inputs"]), lambda: row["inputs"])
        return {**row, "inputs": found}

    pipeline = data.Pipeline(Stream(10, more=lambda stream: stream.map(looked_up)), 10, shuffle=False)
    assert taken(pipeline.training(0), 1)[0]["inputs"].tolist() == list(range(10, 20))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shuffle": -1}, "shuffle must be True, False or a number of examples, found -1"),
        ({"shuffle": "yes"}, "shuffle must be True, False or a number of examples, found 'yes'"),
        ({"cache": True}, "cache=True can't keep stream, which is a stream"),
        ({"weights": [1.0] * 10}, r"weights must be a mapping by class, found float64 of shape \(10,\)"),
        ({"batch_size": 11}, "batch_size must be an integer from 1 to 10, the size of stream, found 11"),
    ],
)
def test_options_that_a_stream_can_not_have_are_refused(options, reason):
    with pytest.raises(ValueError, match=f"^Pipeline: {reason}$"):
        data.Pipeline(Stream(10), **{"batch_size": 2, **options})


def test_a_buffer_is_for_streams():
    with pytest.raises(ValueError, match="shuffle must be True or False: arrays is shuffled as a whole, found 100"):
        data.Pipeline(data.Arrays(np.arange(3)), 1, shuffle=100)
