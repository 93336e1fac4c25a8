"""The sweep of the learning rate: the true step, a suggestion that trains, and nothing left of it."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer

import data
import engine
import optim


def pipeline():
    return data.Pipeline(classified(), 10)


def state_of(made):
    return {path: variable.numpy() for path, variable in made.state.variables_by_path().items()}


def assert_equal(before, after):
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path], path)


@pytest.fixture(scope="module")
def adam():
    """A trainer that has trained, and its sweep."""
    made = trainer(
        mlp(dropout=0.1),
        optimizer=optim.chain(optim.clip_by_global_norm(1.0), optim.Adam(optim.schedules.Scale(0.01))),
        average=optim.EMA(0.9),
        steps_per_loop=2,
    )
    made.fit(pipeline(), max_steps=7)
    before = state_of(made), made.optimizer.rule.learning_rate, made.traces
    sweep = engine.lr_find(made, pipeline(), lowest=1e-5, highest=10.0, steps=60)
    return made, before, sweep


def test_everything_is_bit_for_bit_as_it_was_and_training_goes_on_as_if_nothing_had_been(adam):
    made, (before, rate, traces), _ = adam
    assert_equal(before, state_of(made))
    assert made.optimizer.rule.learning_rate is rate
    assert made.traces == traces
    other = trainer(
        mlp(dropout=0.1),
        optimizer=optim.chain(optim.clip_by_global_norm(1.0), optim.Adam(optim.schedules.Scale(0.01))),
        average=optim.EMA(0.9),
        steps_per_loop=2,
    )
    for steps in (7, 13):
        other.fit(pipeline(), max_steps=steps)
    made.fit(pipeline(), max_steps=13)
    assert_equal(state_of(other), state_of(made))
    assert made.traces == traces


def test_rates_grow_by_one_factor_and_the_suggestion_is_where_the_loss_falls(adam):
    _, _, sweep = adam
    assert sweep.rates[0] == pytest.approx(1e-5)
    np.testing.assert_allclose(sweep.rates[1:] / sweep.rates[:-1], 10 ** (6 / 59), rtol=1e-9)
    assert len(sweep.rates) == len(sweep.losses) == len(sweep.smoothed)
    assert 1e-4 < sweep.suggestion < 1
    # The suggestion is one of the rates, before the lowest loss.
    assert sweep.suggestion in sweep.rates[: np.argmin(sweep.smoothed) + 1]


def test_the_step_is_the_true_one():
    """With one rate all along, to a part in a million, the losses are those of a fit at that rate."""
    sweep = engine.lr_find(trainer(optimizer=optim.SGD(7.0)), pipeline(), lowest=0.1, highest=0.1 + 1e-7, steps=12)
    history = trainer(optimizer=optim.SGD(0.1)).fit(pipeline(), max_steps=12)
    np.testing.assert_allclose(sweep.losses, history.steps["loss"], rtol=1e-5)
    assert not sweep.diverged


class Parabola(tf.Module):
    def __init__(self):
        super().__init__()
        self.x = tf.Variable([1.0])

    def __call__(self, inputs, training=False):
        return inputs * self.x


def squares(**options):
    return engine.Trainer(Parabola(), "mean_squared_error", optim.SGD(0.1), **options)


def ones(value=1.0):
    return data.Pipeline(data.Arrays(np.full([4, 1], value, np.float32), np.zeros([4, 1], np.float32)), 4)


def test_it_stops_where_it_diverges_and_says_so():
    made = squares()
    # x ← x·(1 − 2·rate): falls fastest where little of x is left, rises from rate 1 on.
    sweep = engine.lr_find(made, ones(), lowest=1e-3, highest=1e3, steps=200)
    assert sweep.diverged
    assert 1 < sweep.rates[-1] < 1e3
    assert 1e-2 < sweep.suggestion < 1
    assert made.model.x.numpy() == [1.0]
    assert "the loss diverges" in str(sweep)
    assert "← falls fastest" in str(sweep)


def test_numbers_that_are_not_finite_end_it_without_a_report(capfd):
    sweep = engine.lr_find(squares(), ones(1e15), lowest=1e-7, highest=10.0, steps=20)
    assert sweep.diverged
    assert sweep.suggestion is None
    assert "none: the loss never falls" in str(sweep)
    assert capfd.readouterr().err == ""


def test_rules_of_a_partition_keep_their_proportions():
    def rule(factor):
        return optim.Partition(
            {"*.bias": optim.SGD(0.2 * factor), "*": optim.SGD(optim.schedules.constant(0.1 * factor))}
        )

    sweep = engine.lr_find(trainer(optimizer=rule(9)), pipeline(), lowest=0.2, highest=0.2 + 1e-7, steps=8)
    history = trainer(optimizer=rule(1)).fit(pipeline(), max_steps=8)
    np.testing.assert_allclose(sweep.losses, history.steps["loss"], rtol=1e-5)


def test_the_curve_is_drawn(tmp_path, adam):
    pytest.importorskip("matplotlib", reason="needs the extra plot: pip install 'tapeline[plot]'")
    adam[2].plot(tmp_path / "sweep.png")
    pixels = tf.io.decode_png((tmp_path / "sweep.png").read_bytes(), 3).numpy().astype(int)
    blue, red = pixels[..., 2] - pixels[..., 0] > 60, pixels[..., 0] - pixels[..., 2] > 100
    assert blue.any(0).sum() > 300
    # The suggestion stands upright.
    assert red.sum(0).max() > 100


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch, tmp_path, adam):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^drawing the sweep needs matplotlib: pip install 'tapeline\[plot\]'$"):
        adam[2].plot(tmp_path / "no.png")
    assert not list(tmp_path.iterdir())


class Foreign(tf.Module):
    """An optimizer without a rate."""

    def init(self, variables):
        pass

    def apply(self, gradients, variables):
        for gradient, variable in zip(gradients, variables, strict=True):
            variable.assign_sub(0.1 * gradient)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "^0 < lowest < highest must hold, and highest be finite, got 0.0 and 10.0$"),
        ({"lowest": 2.0, "highest": 1.0}, "^0 < lowest < highest must hold"),
        ({"steps": 1}, "^steps must be a whole number of at least 2, got 1$"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        engine.lr_find(squares(), ones(), **options)


def test_an_optimizer_without_a_rate_is_refused():
    with pytest.raises(ValueError, match=r"^lr_find needs an optimizer with a learning_rate that is a number"):
        engine.lr_find(trainer(optimizer=Foreign()), pipeline())
