"""Accumulation and averages: many micro-batches are one update, and averages follow updates."""

import functools

import cuts
import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import layers
import optim

FEATURES, CLASSES, STEPS = 4, 3, 6
# The last batch of an epoch has one example: the other slices are empty.
EXAMPLES, BATCH = 13, 4
LAYOUTS = [(1, 1), (1, 3), (2, 1), (2, 3)]


def classes(seed=0, weights=None):
    rng = np.random.default_rng(seed)
    return data.Arrays(rng.normal(size=(EXAMPLES, FEATURES)), rng.integers(0, CLASSES, EXAMPLES), weights)


def mlp():
    tf.random.set_seed(0)
    return layers.Sequential([layers.Dense(FEATURES, 5, activation="tanh"), layers.Dense(5, CLASSES)])


def trained(rule, layout, *, steps=STEPS, source=None, model=mlp, validation=None, hooks=(), **options):
    """A float64 trainer after `steps` updates, cut into (replicas, micro-batches), and its history."""
    replicas, parts = layout
    made = cuts.trainer(
        model,
        "sparse_categorical_crossentropy",
        rule,
        replicas=replicas,
        accumulate_steps=parts,
        precision="float64",
        seed=1,
        **options,
    )
    pipeline = data.Pipeline(source or classes(), BATCH)
    return made, made.fit(pipeline, max_steps=steps, validation=validation, hooks=hooks)


class CountsApplies(optim.SGD):
    """SGD that counts in a variable how often it is applied."""

    def init(self, variables):
        super().init(variables)
        self.applied = tf.Variable(0, trainable=False)

    def apply(self, gradients, variables):
        super().apply(gradients, variables)
        self.applied.assign_add(1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_update_follows_whatever_the_number_of_micro_batches(layout):
    """Rule, schedule, average and position each advance once an update."""
    made, history = trained(
        lambda: CountsApplies(optim.schedules.exponential(0.1, 1, 0.5)), layout, average=optim.EMA(0.9)
    )
    assert made.optimizer.applied.numpy() == made.optimizer.step.numpy() == int(made.state.step) == STEPS
    assert made.state.average.updates.numpy() == STEPS
    np.testing.assert_allclose(history.steps["learning_rate"], 0.1 * 0.5 ** np.arange(STEPS), rtol=1e-12)
    assert (int(made.state.epoch), int(made.state.index)) == divmod(STEPS, 4)


RULES = {
    "global norm": lambda: optim.chain(optim.clip_by_global_norm(0.05), optim.SGD(0.5, momentum=0.9)),
    "each norm": lambda: optim.chain(optim.clip_by_norm(0.05), optim.Adam(0.1)),
    "value": lambda: optim.chain(optim.clip_by_value(0.02), optim.SGD(0.5)),
}


@functools.cache
def clipped(rule, layout):
    return trained(RULES[rule], layout)


@pytest.mark.parametrize(
    ("rule", "layout"),
    [
        ("global norm", (1, 3)),
        ("global norm", (2, 1)),
        ("global norm", (2, 3)),
        ("each norm", (2, 3)),
        ("value", (2, 3)),
    ],
)
def test_clipping_sees_the_full_gradient(rule, layout):
    """Clipped by slices, the sum would be another: the limits are well below the gradients of any slice."""
    whole, expected = clipped(rule, LAYOUTS[0])
    cut, history = clipped(rule, layout)
    np.testing.assert_allclose(history.steps["loss"], expected.steps["loss"], rtol=1e-12)
    cuts.assert_near(cuts.values(cut.model), cuts.values(whole.model), 1e-12)
    cuts.assert_near(cuts.values(cut.optimizer), cuts.values(whole.optimizer), 1e-12)


def test_clipping_does_clip_here():
    """The law above would hold of a limit that nothing reaches."""
    made, _ = trained(lambda: optim.SGD(0.5, momentum=0.9), LAYOUTS[0])
    difference = (
        cuts.values(made.model)["layers.0.kernel"]
        - cuts.values(clipped("global norm", LAYOUTS[0])[0].model)["layers.0.kernel"]
    )
    assert np.abs(difference).max() > 1e-2


@pytest.mark.parametrize("layout", [(1, 3), (2, 2)])
def test_a_batch_without_weight_advances_the_schedule_and_nothing_else(layout):
    made, history = trained(
        lambda: optim.Adam(optim.schedules.exponential(0.1, 1, 0.5)),
        layout,
        source=classes(weights=np.zeros(EXAMPLES)),
        average=optim.EMA(0.9),
    )
    fresh = mlp()
    for path, value in cuts.values(engine.cast(fresh, "float64")).items():
        np.testing.assert_array_equal(cuts.values(made.model)[path], value)
        np.testing.assert_array_equal(made.state.average.averages[path], value)
    moved = {path for path, value in cuts.values(made.optimizer).items() if path.startswith("slots") and value.any()}
    assert not moved
    assert made.optimizer.step.numpy() == int(made.state.step) == STEPS
    assert sum(history.values("empty_steps")) == STEPS
    assert not history.steps["loss"].any()


class Weights(engine.hooks.Hook):
    """The raw weights after each step; loops end at every one."""

    every = 1

    def __init__(self):
        super().__init__("weights")
        # In a function, where tf.Module does not track them.
        seen = []
        self.seen = lambda: seen

    def on_loop_end(self, run, record):
        self.seen().append(cuts.values(run.trainer.model))


def normalised():
    tf.random.set_seed(0)
    return layers.Sequential([layers.Dense(FEATURES, 5), layers.BatchNorm(5, momentum=0.5), layers.Dense(5, CLASSES)])


def ema_by_hand(start, weights, decay):
    average = start
    for now in weights:
        average = {path: decay * value + (1 - decay) * now[path] for path, value in average.items()}
    return average


@pytest.mark.parametrize("layout", [(1, 1), (2, 1), (3, 1)])
def test_the_average_is_that_of_the_weights_and_statistics_after_each_update(layout):
    hook = Weights()
    made, _ = trained(
        lambda: optim.SGD(0.5), layout, model=normalised, average=optim.EMA(0.9), hooks=[hook], steps_per_loop=1
    )
    start = cuts.values(engine.cast(normalised(), "float64"))
    expected = ema_by_hand(start, hook.seen(), 0.9)
    assert len(hook.seen()) == STEPS
    found = {path: value.numpy() for path, value in made.state.average.averages.items()}
    cuts.assert_near(found, expected, 1e-12)


@functools.cache
def averaged(layout):
    return trained(lambda: optim.SGD(0.5), layout, average=optim.EMA(0.9))


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_the_average_does_not_see_the_cut(layout):
    cut, whole = averaged(layout)[0].state.average, averaged(LAYOUTS[0])[0].state.average
    cuts.assert_near(
        {path: value.numpy() for path, value in cut.averages.items()},
        {path: value.numpy() for path, value in whole.averages.items()},
        1e-12,
    )


@pytest.mark.parametrize("layout", [(1, 1), (2, 2)])
def test_evaluation_and_prediction_use_the_averages_and_the_weights_come_back_to_the_bit(layout):
    made, _ = averaged(layout)
    raw, pipeline = cuts.values(made.model), data.Pipeline(classes(1), 5)
    by_averages = cuts.trainer(
        mlp, "sparse_categorical_crossentropy", optim.SGD, precision="float64", replicas=layout[0]
    )
    cuts.assign(by_averages.model, {path: value.numpy() for path, value in made.state.average.averages.items()})
    expected = by_averages.evaluate(pipeline)
    np.testing.assert_allclose(made.evaluate(pipeline)["loss"], expected["loss"], rtol=1e-12)
    np.testing.assert_allclose(made.predict(pipeline), by_averages.predict(pipeline), rtol=1e-12)
    with made.averaged():
        for path, value in cuts.values(made.model).items():
            np.testing.assert_array_equal(value, made.state.average.averages[path])
    for path, value in cuts.values(made.model).items():
        np.testing.assert_array_equal(value, raw[path])
    by_weights = cuts.trainer(mlp, "sparse_categorical_crossentropy", optim.SGD, precision="float64")
    cuts.assign(by_weights.model, raw)
    assert abs(by_weights.evaluate(pipeline)["loss"] - expected["loss"]) > 1e-3


def test_weights_come_back_to_the_bit_from_a_use_of_the_averages_that_fails():
    made, _ = averaged((1, 1))
    raw = cuts.values(made.model)
    with pytest.raises(KeyError), made.averaged():
        raise KeyError
    for path, value in cuts.values(made.model).items():
        np.testing.assert_array_equal(value, raw[path])


@pytest.mark.parametrize("layout", [(1, 1), (2, 2)])
def test_validation_uses_the_averages_and_changes_no_training(layout):
    validation = data.Pipeline(classes(1), 5)
    plain, expected = averaged(layout)
    made, history = trained(lambda: optim.SGD(0.5), layout, average=optim.EMA(0.9), validation=validation)
    np.testing.assert_array_equal(history.steps["loss"], expected.steps["loss"])
    assert engine.weights_sha256(made.model) == engine.weights_sha256(plain.model)
    assert history.values("loss", "validation")[-1] == made.evaluate(validation)["loss"]


@pytest.mark.parametrize("layout", [(1, 3), (2, 1)])
def test_a_checkpoint_resumes_the_average_and_may_resume_it_on_another_cut(tmp_path, layout):
    """A run that is cut anew goes on within rounding, as the averages do."""
    folder = tmp_path / "checkpoints"

    def run(layout, steps):
        return trained(
            lambda: optim.Adam(0.1),
            layout,
            steps=steps,
            average=optim.EMA(0.9),
            hooks=[engine.hooks.Checkpoint(folder)],
        )

    run(layout, 3)
    resumed, history = run((3, 2), STEPS)
    assert history.resumed_from == 3
    whole, _ = trained(lambda: optim.Adam(0.1), (1, 1), average=optim.EMA(0.9))
    assert resumed.state.average.updates.numpy() == STEPS
    cuts.assert_near(cuts.values(resumed.state.average), cuts.values(whole.state.average), 1e-11)
    cuts.assert_near(cuts.values(resumed.model), cuts.values(whole.model), 1e-11)
