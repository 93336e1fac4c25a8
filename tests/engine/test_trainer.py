"""The outer loop's laws: nothing depends on how the steps are cut into calls, or a run into fits."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import classified, mlp, trainer

import data
import engine
import optim


def fit(batch_size=7, epochs=2, source=None, **options):
    fit_options = {name: options.pop(name) for name in ("max_steps", "validation", "evaluate_every") if name in options}
    made = trainer(mlp(dropout=0.3), **options)
    pipeline = data.Pipeline(source or classified(), batch_size)
    return made, made.fit(pipeline, epochs=epochs, **fit_options)


@pytest.fixture(scope="module")
def reference():
    return fit()


@settings(max_examples=6)
@given(steps_per_loop=st.integers(1, 30))
def test_steps_per_loop_changes_nothing_but_where_hooks_run(reference, steps_per_loop):
    made, history = fit(steps_per_loop=steps_per_loop)
    reference, expected = reference
    assert engine.weights_sha256(made.model) == engine.weights_sha256(reference.model)
    for name in expected.steps:
        np.testing.assert_array_equal(history.steps[name], expected.steps[name])
    assert history.train == expected.train
    assert history.traces == 1


def test_two_runs_with_one_seed_are_bit_identical_and_another_seed_differs():
    checksums = [engine.weights_sha256(fit(seed=seed)[0].model) for seed in (3, 3, 4)]
    assert checksums[0] == checksums[1] != checksums[2]


class Seen(tf.Module):
    """Counts, in a variable, how often it met each example (inputs are one-hot)."""

    def __init__(self, examples):
        super().__init__()
        self.kernel = tf.Variable(tf.zeros([examples, 2]))
        self.counts = tf.Variable(tf.zeros([examples]), trainable=False)

    def __call__(self, inputs, training=False):
        if training:
            self.counts.assign_add(tf.reduce_sum(inputs, axis=0))
        return inputs @ self.kernel


@settings(max_examples=6)
@given(examples=st.integers(1, 20), data_=st.data())
def test_an_epoch_shows_each_example_exactly_once_whatever_the_batch_size(examples, data_):
    batch_size = data_.draw(st.integers(1, examples))
    source = data.Arrays(np.eye(examples, dtype=np.float32), np.zeros(examples, np.int32))
    model = Seen(examples)
    history = trainer(model, steps_per_loop=3).fit(data.Pipeline(source, batch_size), epochs=2)
    np.testing.assert_array_equal(model.counts, np.full(examples, 2.0))
    assert len(history.steps["loss"]) == 2 * -(-examples // batch_size)


def test_loop_lines_are_weighted_means_over_the_loop_and_stand_at_absolute_boundaries():
    source = classified(50)
    source = data.Arrays(source.arrays["inputs"], source.arrays["labels"], weights=np.arange(50, dtype=np.float32))
    made = trainer(optimizer=optim.SGD(1e-30), steps_per_loop=3)
    history = made.fit(data.Pipeline(source, 7), epochs=2)
    assert [record["step"] for record in history.records] == [3, 6, 8, 11, 14, 16]
    assert [record["epoch"] for record in history.records] == [1, 1, 1, 2, 2, 2]
    # With a rate that moves nothing, the weighted mean over an epoch is the evaluation of the whole set.
    whole = made.evaluate(data.Pipeline(source, 50, shuffle=False))
    assert history.train["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert history.train["accuracy"] == pytest.approx(whole["accuracy"], rel=1e-12)


@given(cuts=st.lists(st.integers(1, 29), max_size=4), seed=st.integers(0, 1000))
def test_running_sums_do_not_depend_on_where_the_steps_are_cut(cuts, seed):
    """To the last bit, also in float64, where sums round: an interrupted run writes the same history."""
    columns = engine.loop.Columns({"accuracy": engine.metrics.SparseCategoricalAccuracy()})
    rows = np.random.default_rng(seed).normal(size=(30, columns.width))
    whole = columns.add(np.zeros(columns.width), rows)
    sums = np.zeros(columns.width)
    for part in np.split(rows, sorted(set(cuts))):
        sums = columns.add(sums, part)
    np.testing.assert_array_equal(sums, whole)


def test_per_step_values_are_those_of_each_batch():
    _, history = fit(steps_per_loop=5, epochs=1)
    np.testing.assert_array_equal(history.steps["step"], np.arange(1, 9))
    twin = trainer(mlp(dropout=0.3))
    variables = engine.trainable_variables(twin.model)
    batches = data.Pipeline(classified(), 7).training(seed=0)
    for step, batch in enumerate(batches.take(8)):
        values = engine.step(
            twin.model,
            engine.Supervised("sparse_categorical_crossentropy"),
            twin.optimizer,
            batch,
            variables,
            engine.StepContext(0, step),
        )
        # A step by hand, eagerly: graph and eager kernels may round differently.
        assert history.steps["loss"][step] == pytest.approx(float(values.loss / values.weight), rel=1e-5)


def test_evaluation_counts_each_example_once():
    source = classified(50)
    made = trainer()
    values = [made.evaluate(data.Pipeline(source, size, shuffle=False)) for size in (1, 7, 50)]
    for other in values[1:]:
        assert other["loss"] == pytest.approx(values[0]["loss"], rel=1e-6)
        assert other["accuracy"] == values[0]["accuracy"]
    logits = made.predict(data.Pipeline(source, 7, shuffle=False))
    assert logits.shape == (50, 3)
    assert (logits.argmax(axis=1) == source.arrays["labels"]).mean() == pytest.approx(values[0]["accuracy"])


def test_predict_keeps_source_order_and_the_outputs_structure():
    class Two(tf.Module):
        def __call__(self, inputs):
            return {"same": inputs, "sum": tf.reduce_sum(inputs, axis=-1)}

    class Nothing(tf.Module):
        def init(self, variables):
            pass

    source = classified(11)
    outputs = engine.Trainer(Two(), "mean_squared_error", Nothing()).predict(data.Pipeline(source, 4))
    np.testing.assert_array_equal(outputs["same"], source.arrays["inputs"])
    np.testing.assert_allclose(outputs["sum"], source.arrays["inputs"].sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("examples", [1, 64, 67, 129])
def test_predictions_are_those_of_each_batch_however_many_a_call_takes(examples):
    source, model, traces = classified(examples), mlp(), []

    class Counted(tf.Module):
        def __call__(self, x, training=False):
            traces.append(x.shape)
            return {"logits": model(x, training=training), "row": x[:, 0]}

    made = engine.Trainer(Counted(), "mean_squared_error", optim.SGD(0.1))
    batches = data.Pipeline(source, min(2, examples), shuffle=False)
    found = made.predict(batches)
    assert len(traces) == 1
    alone = tf.function(model)
    expected = np.concatenate([alone(batch["inputs"]) for batch in batches.evaluation()])
    np.testing.assert_array_equal(found["logits"], expected)
    np.testing.assert_array_equal(found["row"], source.arrays["inputs"][:, 0])
    model.layers[-1].bias.assign_add([1, 1, 1])
    np.testing.assert_allclose(made.predict(batches)["logits"], expected + 1, rtol=1e-6)
    assert len(traces) == 1


def test_predict_pads_outputs_of_tokens_where_batches_have_several_widths():
    class Same(tf.Module):
        def __call__(self, ids):
            return tf.stack([ids, -ids], axis=-1)

    class Nothing(tf.Module):
        def init(self, variables):
            pass

    lengths = np.tile([3, 40, 9], 20)
    pipeline = data.Pipeline(data.Sequences([np.arange(1, n + 1) for n in lengths], labels=lengths), 4, shuffle=False)
    outputs = engine.Trainer(Same(), "mean_squared_error", Nothing()).predict(pipeline)
    assert outputs.shape == (60, 40, 2)
    expected = np.where(np.arange(40) < lengths[:, np.newaxis], np.arange(1, 41), 0)
    np.testing.assert_array_equal(outputs, np.stack([expected, -expected], -1))


def test_max_steps_and_evaluate_every_work_beside_epochs():
    validation = data.Pipeline(classified(20, seed=1), 8, shuffle=False)
    made, history = fit(epochs=None, max_steps=11, evaluate_every=4, validation=validation)
    assert int(made.state.step) == 11
    assert history.stopped_by == "max_steps"
    assert [r["step"] for r in history.records if r["split"] == "validation"] == [4, 8, 11]
    _, history = fit(epochs=1, max_steps=100, validation=validation)
    assert history.stopped_by == "epochs"
    assert [r["step"] for r in history.records if r["split"] == "validation"] == [8]


def test_a_second_fit_goes_on_where_the_first_ended():
    pipeline = data.Pipeline(classified(), 7)
    straight, halves = trainer(), trainer()
    straight.fit(pipeline, epochs=4)
    halves.fit(pipeline, epochs=1)
    halves.fit(pipeline, max_steps=13)
    halves.fit(pipeline, epochs=4)
    assert engine.weights_sha256(straight.model) == engine.weights_sha256(halves.model)


def test_a_second_fit_refuses_a_pipeline_of_another_length_in_the_middle_of_an_epoch():
    made = trainer()
    made.fit(data.Pipeline(classified(), 7), max_steps=7)
    with pytest.raises(ValueError, match=r"at batch 7 of an epoch of 8: .* a pipeline of 5 batches"):
        made.fit(data.Pipeline(classified(), 10), max_steps=9)
    made.fit(data.Pipeline(classified(), 7), epochs=1)
    made.fit(data.Pipeline(classified(), 10), epochs=2)
    assert (int(made.state.step), int(made.state.epoch)) == (13, 2)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        engine.losses.sparse_categorical_crossentropy,
        lambda labels, outputs, scale=1.0: scale * engine.losses.sparse_categorical_crossentropy(labels, outputs),
        functools.partial(
            lambda y, z, *, scale: scale * engine.losses.sparse_categorical_crossentropy(y, z), scale=1.0
        ),
        engine.Supervised("sparse_categorical_crossentropy"),
        lambda model, batch, training: engine.Supervised("sparse_categorical_crossentropy")(model, batch, training),
    ],
)
def test_a_loss_in_every_form_becomes_the_same_objective(loss):
    values = engine.Trainer(mlp(), loss, optim.SGD(0.1)).evaluate(data.Pipeline(classified(), 50))
    assert values["loss"] == pytest.approx(trainer().evaluate(data.Pipeline(classified(), 50))["loss"], rel=1e-12)


def test_an_evaluation_of_unknown_length_is_refused():
    class Filtered(data.Pipeline):
        def evaluation(self):
            return super().evaluation().filter(lambda batch: True)

    with pytest.raises(ValueError, match="must be known, finite and at least 1"):
        trainer().evaluate(Filtered(classified(), 7))


def test_float64_runs_in_float64():
    model = engine.cast(mlp(), "float64")
    made = trainer(model, precision="float64")
    made.fit(data.Pipeline(classified(dtype=np.float64), 7), epochs=1)
    assert {v.dtype for p, v in engine.variable_paths(model).items()} == {tf.float64}
    assert made.predict(data.Pipeline(classified(dtype=np.float64), 7)).dtype == np.float64
    with pytest.raises(
        ValueError, match=r"layers\.0\.kernel is float32 where the precision asks for float64: .*engine\.cast"
    ):
        trainer(mlp(), precision="float64")


def test_freezing_between_fits_stops_gradients_and_traces_once_more():
    made = trainer()
    pipeline = data.Pipeline(classified(), 7)
    made.fit(pipeline, epochs=1)
    made.model.layers[0].trainable = False
    before = made.model.layers[0].kernel.numpy()
    history = made.fit(pipeline, epochs=3)
    np.testing.assert_array_equal(made.model.layers[0].kernel, before)
    assert history.traces == 1
    made.model.layers[0].trainable = True
    assert made.fit(pipeline, epochs=4).traces == 0
    assert not np.array_equal(made.model.layers[0].kernel, before)


def test_a_loss_that_is_not_finite_ends_the_fit():
    source = classified(50)
    inputs = source.arrays["inputs"].copy()
    inputs[17] = np.inf
    made = trainer()
    with pytest.raises(
        engine.NonFinite, match=r"^step 3 is not finite: .*the batch is not finite\n  batch\['inputs'\]"
    ):
        made.fit(data.Pipeline(data.Arrays(inputs, source.arrays["labels"]), 7, shuffle=False), epochs=5)
    # The step moved nothing, and does not count.
    assert int(made.state.step) == 2


def test_batches_without_weight_are_counted():
    source = classified(21)
    weights = np.ones(21, np.float32)
    weights[7:14] = 0
    source = data.Arrays(source.arrays["inputs"], source.arrays["labels"], weights=weights)
    history = trainer().fit(data.Pipeline(source, 7, shuffle=False), epochs=2)
    assert [record["empty_steps"] for record in history.records] == [1, 1]
    assert history.steps["loss"][1] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "epochs=… or max_steps=…"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"max_steps": 1.5}, "max_steps must be a whole number of at least 1, got 1.5"),
        ({"epochs": 1, "evaluate_every": 3}, "needs validation=…"),
        (
            {"epochs": 1, "hooks": [engine.hooks.EpochLines(), engine.hooks.EpochLines()]},
            "two hooks are called 'epoch_lines'",
        ),
        ({"epochs": 1, "hooks": [engine.hooks.EarlyStopping()]}, "no validation pipeline"),
        ({"epochs": 1, "hooks": [engine.hooks.EarlyStopping("train.recall")]}, "there are loss, data_loss, accuracy"),
    ],
)
def test_wrong_arguments_are_refused_before_training(options, message):
    made = trainer()
    with pytest.raises(ValueError, match=message):
        made.fit(data.Pipeline(classified(), 7), **options)
    assert int(made.state.step) == 0


def test_wrong_parts_are_refused():
    with pytest.raises(TypeError, match=r"must be a tf\.Module"):
        trainer(optimizer=object())
    with pytest.raises(ValueError, match="steps_per_loop must be a whole number of at least 1, got 0"):
        trainer(steps_per_loop=0)
    with pytest.raises(ValueError, match="unknown precision 'half'; there are float32"):
        trainer(precision="half")
    for name in ("loss", "data_loss", "learning_rate", "step", "split"):
        with pytest.raises(ValueError, match=f"can't be called '{name}'"):
            engine.Trainer(mlp(), "mean_squared_error", optim.SGD(0.1), {name: engine.metrics.CategoricalAccuracy()})
    made = trainer()
    engine.freeze(made.model)
    with pytest.raises(ValueError, match="every variable of the model is frozen"):
        made.fit(data.Pipeline(classified(), 7), epochs=1)


def test_a_model_with_too_few_outputs_is_refused_before_training():
    source = classified(classes=3)
    source = data.Arrays(source.arrays["inputs"], source.arrays["labels"], info=data.Info("three", classes=3))
    smoothed = functools.partial(engine.losses.sparse_categorical_crossentropy, label_smoothing=0.1)
    for made in (trainer(mlp(classes=2)), engine.Trainer(mlp(classes=2), smoothed, optim.SGD(0.1))):
        with pytest.raises(ValueError, match="2 outputs, but the data has 3 classes"):
            made.fit(data.Pipeline(source, 7), epochs=1)
        assert int(made.state.step) == 0
