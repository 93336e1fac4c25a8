"""The whole loop over stacks that the pipeline makes: the bits of the loop that stacks batches itself."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cuts
import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp

import data
import engine
import layers
import optim
from engine.stacks import Stacks, capacity, stacks

ROOT = Path(__file__).parents[2]
LOSS = "sparse_categorical_crossentropy"


class OneByOne(data.Pipeline):
    """A pipeline without stacks: it has a `training` of its own."""

    def training(self, *place, **shard):
        return super().training(*place, **shard)


class Handing:
    """Hands on what it is asked to a pipeline, but for training, where everything is moved by a number."""

    def __init__(self, pipeline):
        self._pipeline = pipeline

    def __getattr__(self, name):
        return getattr(self._pipeline, name)

    def training(self, *place, **shard):
        moved = lambda batch: {**batch, "inputs": batch["inputs"] + 7}  # noqa: E731
        return self._pipeline.training(*place, **shard).map(moved)


@pytest.fixture(scope="module")
def shared():
    """A trainer that every test puts back to its beginning: XLA compiles once for all of them."""
    made = cuts.trainer(
        lambda: mlp(dropout=0.5), LOSS, lambda: optim.SGD(0.1, momentum=0.9), jit_compile="loop", max_traces=1
    )
    return made, cuts.values(made.state)


def fits(shared, kind, stops, steps_per_loop=100, source=None, **options):
    """(losses, the weights' hash) of fits that end at `stops`."""
    made, beginning = shared
    cuts.assign(made.state, beginning)
    made.steps_per_loop = steps_per_loop
    pipeline = kind(source or classified(61), 7, **options)
    losses = [made.fit(pipeline, max_steps=stop).steps["loss"] for stop in stops]
    assert made.compiled == "loop"
    return np.concatenate(losses), engine.weights_sha256(made.model)


@pytest.fixture(scope="module")
def expected(shared):
    """61 examples are 8 batches of 7 and one of 5."""
    return fits(shared, OneByOne, [41])


@pytest.mark.parametrize(
    ("stops", "steps_per_loop"), [((41,), 100), ((41,), 1), ((41,), 4), ((1, 2, 8, 9, 12, 26, 41), 100), ((10, 41), 3)]
)
def test_bits_are_those_of_batches_one_by_one_wherever_it_is_cut(shared, expected, stops, steps_per_loop):
    losses, sha256 = fits(shared, data.Pipeline, stops, steps_per_loop)
    np.testing.assert_array_equal(losses, expected[0])
    assert sha256 == expected[1]


def test_a_pipeline_with_a_training_of_its_own_has_no_stacks(shared):
    source = classified(20)
    assert OneByOne(source, 4).stacks(8, 0) is None
    plain = data.Pipeline(source, 4)
    assert plain.stacks(8, 0) is not None
    plain.training = OneByOne(source, 4).training
    assert plain.stacks(8, 0) is None
    made, beginning = shared
    cuts.assign(made.state, beginning)
    moved = made.fit(Handing(data.Pipeline(source, 7)), max_steps=1).steps["loss"]
    cuts.assign(made.state, beginning)
    assert moved != made.fit(data.Pipeline(source, 7), max_steps=1).steps["loss"]


def test_a_hook_may_put_another_pipeline_in_its_place_in_the_middle_of_a_stack(shared):
    class Swap(engine.hooks.Hook):
        def __init__(self, name, others):
            super().__init__(name)
            self.others = others

        def on_boundary(self, run):
            run.train = self.others[run.step // 3 % 2]

    def run(*kinds):
        made, beginning = shared
        cuts.assign(made.state, beginning)
        made.steps_per_loop = 3
        pipelines = [kind(classified(61, seed=seed), 7) for seed, kind in enumerate(kinds)]
        losses = made.fit(pipelines[0], max_steps=20, hooks=[Swap("swap", pipelines)]).steps["loss"]
        return losses.tolist(), engine.weights_sha256(made.model)

    assert run(data.Pipeline, data.Pipeline) == run(OneByOne, OneByOne) == run(data.Pipeline, OneByOne)


def test_a_thawed_layer_changes_how_long_stacks_may_be():
    def run(kind):
        tf.random.set_seed(0)
        model = layers.Sequential([layers.Dense(6, 2**17), layers.Dense(2**17, 4), layers.Dense(4, 3)])
        engine.freeze(model.layers[0])
        made = engine.Trainer(model, LOSS, optim.SGD(0.01), seed=1, steps_per_loop=5, jit_compile="loop")

        class Thaw(engine.hooks.Hook):
            def on_boundary(self, run):
                engine.freeze(model.layers[0], run.step % 2 == 0)

        losses = made.fit(kind(classified(61), 7), max_steps=20, hooks=[Thaw("thaw")]).steps["loss"]
        return losses.tolist(), engine.weights_sha256(made.model)

    assert run(data.Pipeline) == run(OneByOne)


def test_augmentations_are_as_if_batches_came_one_by_one(shared):
    @data.by_example
    def noise(batch, draws):
        return {**batch, "inputs": batch["inputs"] + draws.uniform(6) - 0.5}

    one, other = (fits(shared, kind, [30], augment=noise) for kind in (data.Pipeline, OneByOne))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1] == other[1]


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_a_step_that_is_not_finite_is_the_same_step_and_training_goes_on_behind_it(policy):
    arrays = dict(classified(61).arrays)
    arrays["inputs"] = np.where(np.arange(61)[:, None] == 23, np.float32(np.nan), arrays["inputs"])

    def run(kind):
        made = cuts.trainer(mlp, LOSS, lambda: optim.SGD(0.1), jit_compile="loop", on_non_finite=policy)
        pipeline = kind(data.Arrays(**arrays), 7, shuffle=False)
        if policy == "skip":
            return made.fit(pipeline, max_steps=16).steps["loss"], engine.weights_sha256(made.model)
        with pytest.raises(engine.NonFinite) as error:
            made.fit(pipeline, max_steps=16)
        assert error.value.report.step == 4
        return error.value.history.steps["loss"], engine.weights_sha256(made.model)

    (losses, sha256), (other_losses, other_sha256) = run(data.Pipeline), run(OneByOne)
    np.testing.assert_array_equal(losses, other_losses)
    assert sha256 == other_sha256


def test_a_signal_ends_the_fit_between_stacks_and_nothing_is_lost(shared):
    made, beginning = shared
    cuts.assign(made.state, beginning)
    made.steps_per_loop, calls, source = 1000, [], classified(7 * 300)
    # A first call does one step, wherever stacks end.
    made.fit(data.Pipeline(source, 7), max_steps=1)
    cuts.assign(made.state, beginning)

    def see(inputs):
        calls.append(len(inputs))
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            while not made._stop:
                time.sleep(0.001)
        return inputs

    @data.by_example
    def spied(batch):
        inputs = tf.numpy_function(see, [batch["inputs"]], tf.float32)
        return {**batch, "inputs": tf.ensure_shape(inputs, batch["inputs"].shape)}

    history = made.fit(data.Pipeline(source, 7, transform=spied), epochs=1)
    assert history.stopped_by == "signal"
    assert calls[0] == 60 * 7
    # Of 300, in five stacks.
    assert int(made.state.step) == len(history.steps["loss"]) in (60, 120)
    made.fit(data.Pipeline(source, 7), epochs=1)
    sha256 = engine.weights_sha256(made.model)
    cuts.assign(made.state, beginning)
    made.fit(data.Pipeline(source, 7), epochs=1)
    assert engine.weights_sha256(made.model) == sha256


def test_the_program_is_compiled_once_for_each_shape_and_copies_no_slot(tmp_path):
    """As XLA itself tells, by the programs that it writes down."""
    code = """
import numpy as np, data, engine, layers, optim
inputs = np.random.default_rng(0).normal(size=[7 * 40 + 3, 6]).astype(np.float32)
pipeline = data.Pipeline(data.Arrays(inputs, np.arange(len(inputs), dtype=np.int32) % 3), 7)
options = {"jit_compile": "loop", "steps_per_loop": 13}
trainer = engine.Trainer(layers.Dense(6, 3), "sparse_categorical_crossentropy", optim.Adam(), **options)
for stop in (3, 4, 30, 90):
    trainer.fit(pipeline, max_steps=stop)
"""
    flags = {"XLA_FLAGS": f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*steps.*"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, **flags}, timeout=300)
    programs = [path.read_text() for path in tmp_path.glob("*steps*cpu_after_optimizations.txt")]
    assert len(programs) == 2
    for program in programs:
        body = re.search(r" while\(.*body=(%[\w.-]+)", program)[1]
        lines = re.search(rf"\n{re.escape(body)} .*?\n}}", program, re.DOTALL)[0].splitlines()
        # Variables and slots are written over, in each step. (A copied scalar is none of them.)
        assert any(re.search(r"= f32\[6,3\]\S* fusion\(", line) for line in lines)
        assert not [line for line in lines if re.search(r"= f32\[[\d,]+\]\S* copy\(", line)]


def test_what_leaves_the_program_leaves_its_stacks():
    """A thawed layer makes the network too large for the program, in the middle of a stack."""

    def run(kind):
        tf.random.set_seed(0)
        units = 2**18
        model = layers.Sequential([layers.Dense(6, units), layers.Dense(units, 6), layers.Dense(6, 3)])
        engine.freeze(model.layers[1])
        made = engine.Trainer(model, LOSS, optim.SGD(0.01), seed=1, steps_per_loop=3)
        seen = []

        class Watch(engine.hooks.Hook):
            def on_boundary(self, run):
                seen.append(run.trainer.compiled)
                if run.step == 6:
                    engine.freeze(model.layers[1], False)

        losses = made.fit(kind(classified(61), 7), max_steps=13, hooks=[Watch("watch")]).steps["loss"]
        return losses, seen, engine.weights_sha256(made.model)

    (losses, seen, sha256), (other_losses, other_seen, other_sha256) = run(data.Pipeline), run(OneByOne)
    assert seen == other_seen
    assert set(seen) == {"loop", False}
    np.testing.assert_array_equal(losses, other_losses)
    assert sha256 == other_sha256


@pytest.mark.parametrize(
    ("shape", "dtype", "numbers", "expected"),
    [
        ([32, 784], "float32", 10**5, 64),
        # 16 MiB hold 5 of these.
        ([64, 4096 * 3], "float32", 10**3, 5),
        # 2³⁶ operations are 44 steps of a million numbers at 256 rows, and 2 of as many at 20 tokens in each.
        ([256, 100], "float32", 10**6, 44),
        ([256, 20], "int32", 10**6, 2),
        ([256, 20], "float32", 10**9, 1),
    ],
)
def test_stacks_are_as_long_as_bytes_and_work_allow(shape, dtype, numbers, expected):
    assert int(capacity([tf.constant(shape, tf.int64)], [tf.as_dtype(dtype)], numbers)) == expected


def test_pipelines_without_stacks_have_none():
    pipeline = data.Pipeline(classified(20), 4)
    spec = pipeline.training(0).element_spec
    assert isinstance(stacks(pipeline, spec, 100, 0, 0, 0), Stacks)
    assert stacks(cuts.Batches(classified(20).arrays, 4), spec, 100, 0, 0, 0) is None
    assert stacks(pipeline, {"inputs": tf.TensorSpec([None, None])}, 100, 0, 0, 0) is None
