"""Precision and loss scaling: what stays wide, what is skipped, and that scaling by powers of two changes no bit."""

import functools

import cuts
import numpy as np
import pytest
import tensorflow as tf

import engine
import layers
import optim

FEATURES = 4
CUTS = [(1, 1), (2, 1), (1, 2), (2, 2)]


class Probe(layers.Layer):
    """Passes its input on, and notes its dtype while it is traced."""

    def __init__(self):
        super().__init__()
        seen = set()
        self.seen = lambda: seen

    def __call__(self, x):
        self.seen().add(x.dtype.name)
        return x


def images(examples=24, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(examples, 8, 8, 1)).astype(np.float32)
    return {"inputs": inputs, "labels": (inputs.mean(axis=(1, 2, 3)) > 0).astype(np.int64)}


def convnet():
    tf.random.set_seed(0)
    convolution = [layers.Conv2D(1, 4, 3, strides=2), layers.BatchNorm(4), layers.activations.relu]
    return layers.Sequential([Probe(), *convolution, Probe(), layers.Flatten(), layers.Dense(36, 2)])


@functools.cache
def trained(precision, replicas):
    made = cuts.trainer(
        convnet, "sparse_categorical_crossentropy", lambda: optim.Adam(0.01), replicas=replicas, precision=precision
    )
    before = made.evaluate(cuts.Batches(images(), 5))["loss"]
    made.fit(cuts.Batches(images(), 8), epochs=8)
    return made, before, made.evaluate(cuts.Batches(images(), 5))["loss"]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_layers_compute_narrow_and_everything_that_is_kept_stays_float32(precision, replicas):
    made, *_ = trained(precision, replicas)
    assert [layer.seen() for layer in made.model.layers if isinstance(layer, Probe)] == [{precision}] * 2
    floating = {
        path: variable.dtype.name
        for path, variable in engine.variable_paths(made.state).items()
        if variable.dtype.is_floating and path.startswith(("model", "optimizer.slots"))
    }
    # Two slots for each of six weights.
    assert sum("slots" in path for path in floating) == 12
    assert set(floating.values()) == {"float32"}


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_half_precision_learns(precision, replicas):
    _, before, after = trained(precision, replicas)
    # No update yet: the rounding of activations alone, 2⁻⁹ or 2⁻¹² at each layer.
    np.testing.assert_allclose(before, trained("float32", 1)[1], rtol=2**-6)
    assert after < 0.7 * before


@pytest.mark.parametrize(
    ("precision", "setting", "scaled"),
    [
        ("float32", "auto", False),
        ("float64", "auto", False),
        ("bfloat16", "auto", False),
        ("float16", "auto", True),
        ("float16", "none", False),
        ("float32", "dynamic", True),
    ],
)
def test_float16_scales_its_loss_unless_told_otherwise_and_nothing_else_does(precision, setting, scaled):
    made = cuts.trainer(linear, "mean_squared_error", optim.SGD, precision=precision, loss_scaling=setting)
    assert (made.state.loss_scale is not None) == scaled
    record = made.fit(cuts.Batches(examples()), max_steps=1).records[-1]
    assert ("loss_scale" in record) == ("skipped_steps" in record) == scaled


def test_float16_on_a_processor_is_warned_about_once_a_trainer(caplog):
    made = cuts.trainer(linear, "mean_squared_error", optim.SGD, precision="float16")
    for steps in (2, 4):
        made.fit(cuts.Batches(examples()), max_steps=steps)
    assert sum("float16" in record.getMessage() for record in caplog.records) == 1
    caplog.clear()
    cuts.trainer(linear, "mean_squared_error", optim.SGD, precision="bfloat16")
    assert not caplog.records


def linear():
    tf.random.set_seed(0)
    return layers.Dense(FEATURES, 1)


def normalised():
    tf.random.set_seed(0)
    return layers.Sequential([layers.Dense(FEATURES, 3), layers.BatchNorm(3), layers.Dense(3, 1)])


def examples(size=1.0, rows=5, seed=0):
    """A regression; labels of a large `size` have large gradients and finite losses."""
    rng = np.random.default_rng(seed)
    return {"inputs": rng.normal(size=(rows, FEATURES)), "labels": np.full((rows, 1), size)}


# At a scale of 2¹²⁰ gradients beyond 2⁸ overflow float32, whose largest is just below 2¹²⁸: those of labels of 2¹²,
# the gradient of whose loss is at least 2¹³ at the bias, and not those of labels of 1.
HUGE, LARGE_LABELS = 2.0**120, 2.0**12


def scaled(layout, **options):
    """A trainer whose rule, schedule, statistics and average all move at a good step."""
    replicas, parts = layout
    options = {"initial": HUGE, "ceiling": 2.0**124, "growth_interval": 3, **options}
    return cuts.trainer(
        normalised,
        "mean_squared_error",
        lambda: optim.Adam(optim.schedules.exponential(0.01, 1, 0.5)),
        replicas=replicas,
        accumulate_steps=parts,
        average=optim.EMA(0.9),
        loss_scaling=engine.LossScale(**options),
        steps_per_loop=1,
    )


def fit(made, arrays):
    """One step; its record."""
    return made.fit(cuts.Batches(arrays), max_steps=int(made.state.step) + 1)


def scale(made):
    """The scale of the next step."""
    return float(made.state.loss_scale.scale.numpy())


def learned(made):
    """All that an update moves: weights, statistics, slots, the rule's step, averages."""
    state = cuts.values(made.state)
    return {path: value for path, value in state.items() if path.startswith(("model.", "optimizer.", "average."))}


@pytest.mark.parametrize("layout", CUTS)
def test_an_overflow_moves_nothing_but_the_position_and_halves_the_scale(layout):
    made = scaled(layout)
    assert fit(made, examples()).records[-1]["skipped_steps"] == 0
    before = learned(made)
    history = fit(made, examples(LARGE_LABELS))
    # The scale that is recorded is the one that the step was computed with.
    record = history.records[-1]
    assert (record["skipped_steps"], record["loss_scale"], scale(made)) == (1, HUGE, HUGE / 2)
    assert history.stopped_by == "max_steps"
    assert int(made.state.step) == 2
    for path, value in learned(made).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    assert fit(made, examples()).records[-1]["skipped_steps"] == 0
    unmoved = [path for path, value in learned(made).items() if np.array_equal(value, before[path])]
    assert not unmoved


@pytest.mark.parametrize("where", [0, 4])
def test_an_overflow_in_one_slice_is_one_of_the_whole_update(where):
    """One example of one replica's one micro-batch: every replica leaves the update out."""
    made = scaled((2, 2))
    arrays = examples()
    arrays["labels"][where] = LARGE_LABELS
    before = learned(made)
    assert fit(made, arrays).records[-1]["skipped_steps"] == 1
    for path, value in learned(made).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    for path, variable in engine.variable_paths(made.model).items():
        copies = [copy.numpy() for copy in cuts.strategy(2).experimental_local_results(variable)]
        np.testing.assert_array_equal(*copies, err_msg=path)


@pytest.mark.parametrize("layout", [(1, 1), (2, 2)])
def test_the_scale_doubles_after_so_many_good_updates_in_a_row_up_to_its_ceiling(layout):
    made = scaled(layout, initial=4.0, ceiling=16.0, growth_interval=3)
    scales = [(fit(made, examples()), scale(made))[1] for _ in range(10)]
    assert scales == [4, 4, 8, 8, 8, 16, 16, 16, 16, 16]


def test_an_overflow_begins_the_row_of_good_updates_anew():
    made = scaled((1, 1), growth_interval=2)
    kinds = [1.0, LARGE_LABELS, 1.0, 1.0, 1.0]
    scales = [(fit(made, examples(size)), scale(made) / HUGE)[1] for size in kinds]
    assert scales == [1, 0.5, 0.5, 1, 1]


def test_the_scale_falls_to_its_floor_and_what_overflows_there_ends_training():
    made = scaled((1, 1), floor=HUGE / 2)
    before = learned(made)
    with pytest.raises(engine.NonFinite) as error:
        made.fit(cuts.Batches(examples(LARGE_LABELS)), max_steps=20)
    assert error.value.history.stopped_by == "non_finite"
    assert int(made.state.step) < 20
    assert scale(made) == HUGE / 2
    for path, value in learned(made).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def test_training_goes_on_once_the_scale_has_fallen_far_enough():
    made = scaled((1, 1), growth_interval=1000)
    history = made.fit(cuts.Batches(examples(LARGE_LABELS)), max_steps=30)
    skipped = sum(history.values("skipped_steps"))
    assert 0 < skipped < 30
    assert history.stopped_by == "max_steps"
    assert scale(made) == HUGE / 2**skipped
    assert made.optimizer.step.numpy() == 30 - skipped


@pytest.mark.parametrize("layout", CUTS)
def test_powers_of_two_scale_without_a_trace(layout):
    """Dynamic scaling against none in float64: gradients equal to the bit."""
    replicas, parts = layout
    options = {"replicas": replicas, "accumulate_steps": parts, "precision": "float64"}
    found = []
    for setting in ("none", "dynamic"):
        made = cuts.trainer(normalised, "mean_squared_error", cuts.Capture, loss_scaling=setting, **options)
        found.append(cuts.gradients(made, examples()))
    assert found[0][1]["loss"] == found[1][1]["loss"]
    for path, gradient in found[0][0].items():
        np.testing.assert_array_equal(found[1][0][path], gradient, err_msg=path)


def test_a_resumed_run_knows_its_scale(tmp_path):
    def run(steps):
        made = scaled((1, 1), growth_interval=2)
        checkpoint = engine.hooks.Checkpoint(tmp_path / "checkpoints")
        made.fit(cuts.Batches(examples()), max_steps=steps, hooks=[checkpoint])
        return scale(made) / HUGE

    # 3 good updates, and the fourth doubles the scale a second time.
    assert [run(3), run(4)] == [2, 4]


def test_a_layer_without_floating_inputs_is_warned_of_unless_it_computes_as_asked(caplog):
    class Words(tf.Module):
        def __init__(self, **options):
            super().__init__()
            self.embedding, self.dense = layers.Embedding(9, 4, **options), layers.Dense(4, 2)

    for precision, options, warned in (
        ("bfloat16", {}, True), ("bfloat16", {"compute_dtype": "bfloat16"}, False), ("float32", {}, False)
    ):  # fmt: skip
        caplog.clear()
        engine.Trainer(Words(**options), "mean_squared_error", optim.SGD(0.1), precision=precision)
        assert ("Embedding(9, 4) does not compute in bfloat16" in caplog.text) == warned


def test_a_cast_embedding_computes_in_what_it_was_cast_to():
    wide = engine.cast(layers.Embedding(5, 3, compute_dtype="bfloat16"), "float64")
    assert wide(tf.constant([1])).dtype == "float64"
