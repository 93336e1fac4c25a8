"""What hooks see and keep; TensorBoard read back from its files; the bar on a real terminal."""

import contextlib
import fcntl
import math
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data
import engine
import optim


class Recorder(engine.hooks.Hook):
    """Writes down who is called when."""

    def __init__(self, name="recorder", every=None):
        super().__init__(name)
        self.every = every
        self._calls = []

    def on_loop_end(self, run, record):
        self._calls.append(("loop", record["step"]))

    def on_evaluate_end(self, run, record):
        self._calls.append(("evaluate", record["step"]))

    def on_epoch_end(self, run, record):
        self._calls.append(("epoch", record["step"]))

    def on_boundary(self, run):
        self._calls.append(("boundary", int(run.state.step)))


def test_hooks_are_called_in_the_documented_order_at_absolute_boundaries():
    recorder = Recorder(every=6)
    validation = data.Pipeline(classified(20, seed=1), 20, shuffle=False)
    trainer(steps_per_loop=5).fit(data.Pipeline(classified(), 7), epochs=2, validation=validation, hooks=[recorder])
    assert recorder._calls == [
        ("loop", 5), ("boundary", 5),
        ("loop", 6), ("boundary", 6),
        ("loop", 8), ("evaluate", 8), ("epoch", 8), ("boundary", 8),
        ("loop", 12), ("boundary", 12),
        ("loop", 13), ("boundary", 13),
        ("loop", 16), ("evaluate", 16), ("epoch", 16), ("boundary", 16),
    ]  # fmt: skip


def test_norms_are_those_of_the_last_step():
    model = mlp()
    made = trainer(model, optimizer=optim.SGD(0.5))
    seen = []

    class Norms(engine.hooks.Hook):
        norms = True

        def on_loop_end(self, run, record):
            seen.append(dict(run.last_norms))

    source = classified(14)
    pipeline = data.Pipeline(source, 14, shuffle=False)
    before = [v.numpy() for v in engine.trainable_variables(model)]
    made.fit(pipeline, max_steps=1, hooks=[Norms("norms")])
    after = [v.numpy() for v in engine.trainable_variables(model)]

    def norm(arrays):
        return np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in arrays))

    update = [b - a for a, b in zip(before, after, strict=True)]
    # float32 sums of squares of some eighty numbers
    assert seen[0]["update_norm"] == pytest.approx(norm(update), rel=1e-5)
    assert seen[0]["parameter_norm"] == pytest.approx(norm(after), rel=1e-5)
    assert seen[0]["gradient_norm"] == pytest.approx(norm(update) / 0.5, rel=1e-5)


def test_tensorboard_files_hold_every_loop_and_evaluation(tmp_path):
    validation = data.Pipeline(classified(20, seed=1), 20, shuffle=False)
    hook = engine.hooks.TensorBoard(tmp_path, histograms=False, samples=0, confusion=0, graph=False)
    made = trainer(optimizer=optim.SGD(optim.schedules.exponential(0.1, 8, 0.5)), steps_per_loop=5)
    history = made.fit(data.Pipeline(classified(), 7), epochs=2, validation=validation, hooks=[hook])

    def scalars(split):
        files = EventAccumulator(str(tmp_path / split))
        files.Reload()
        return {
            tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in files.Tensors(tag)]
            for tag in files.Tags()["tensors"]
        }

    train, held_out = scalars("train"), scalars("validation")
    assert {
        "loss",
        "accuracy",
        "learning_rate",
        "norms/gradient_norm",
        "norms/parameter_norm",
        "norms/update_norm",
    } < set(train)
    for split, found in (("train", train), ("validation", held_out)):
        records = [record for record in history.records if record["split"] == split]
        for name in ("loss", "accuracy"):
            assert [step for step, _ in found[name]] == [record["step"] for record in records]
            np.testing.assert_allclose([v for _, v in found[name]], [r[name] for r in records], rtol=1e-6)
    np.testing.assert_allclose(train["learning_rate"][0][1], 0.1 * 0.5 ** (4 / 8), rtol=1e-6)


def test_early_stopping_remembers_the_best_weights():
    values = iter([3.0, 1.0, 2.0, 2.0, 9.0])
    checksums = []

    class Scripted(engine.hooks.Hook):
        """Replaces the monitored value by a script, before early stopping looks at it."""

        def on_evaluate_end(self, run, record):
            record["loss"] = next(values)
            checksums.append(engine.weights_sha256(run.trainer.model))

    stopping = engine.hooks.EarlyStopping(patience=2, restore_best=True)
    pipeline = data.Pipeline(classified(), 25)
    made = trainer()
    history = made.fit(pipeline, epochs=9, validation=pipeline, hooks=[Scripted("script"), stopping])
    assert history.stopped_by == "early_stopping"
    assert len(checksums) == 4
    assert int(stopping.best_step) == 4
    assert engine.weights_sha256(made.model) == checksums[1]


def test_a_hook_that_serves_a_second_trainer_begins_anew():
    stopping = engine.hooks.EarlyStopping("train.loss", patience=9, restore_best=True)
    pipeline = data.Pipeline(classified(), 25)
    first, second = trainer(), trainer(mlp(seed=5), optimizer=optim.SGD(1e-9))
    first.fit(pipeline, epochs=5, hooks=[stopping])
    second.fit(pipeline, epochs=1, hooks=[stopping])
    assert float(stopping.best) < -0.5
    assert engine.weights_sha256(first.model) != engine.weights_sha256(second.model)


def test_a_signal_while_hooks_close_harms_no_later_evaluation():
    class Late(engine.hooks.Hook):
        def close(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)

    pipeline = data.Pipeline(classified(), 25)
    made = trainer()
    assert made.fit(pipeline, epochs=1, hooks=[Late("late")]).stopped_by == "epochs"
    assert made.evaluate(pipeline)["loss"] > 0


def test_hooks_are_closed_after_an_error_too():
    closed = []

    class Closing(engine.hooks.Hook):
        def close(self):
            closed.append(self.name)

    class Failing(Closing):
        def on_fit_begin(self, run):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        trainer().fit(data.Pipeline(classified(), 7), epochs=1, hooks=(made for made in (Closing("a"), Failing("b"))))
    assert closed == ["a", "b"]


def test_a_signal_is_not_forgotten_when_a_hook_evaluates():
    class Evaluating(engine.hooks.Hook):
        def on_loop_end(self, run, record):
            if record["step"] == 4:
                os.kill(os.getpid(), signal.SIGTERM)
                while not run.trainer._stop:
                    time.sleep(0.01)
                run.trainer.evaluate(run.train)

    history = trainer(steps_per_loop=2).fit(data.Pipeline(classified(), 7), epochs=9, hooks=[Evaluating("evaluating")])
    assert (history.stopped_by, history.signal, history.records[-1]["step"]) == ("signal", signal.SIGTERM, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "val_loss"}, "validation.loss"),
        ({"mode": "least"}, "auto, min or max"),
        ({"patience": -1}, "at least 0"),
        ({"min_delta": -1.0}, "at least 0"),
        ({"min_delta": math.nan}, "^patience and min_delta must be at least 0 and finite, got 0 and nan$"),
        ({"min_delta": math.inf}, "^patience and min_delta must be at least 0 and finite, got 0 and inf$"),
        ({"patience": math.nan}, r"^patience and min_delta must be at least 0 and finite, got nan and 0\.0$"),
    ],
)
def test_early_stopping_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        engine.hooks.EarlyStopping(**options)


def test_a_signal_ends_the_compiled_loop_at_its_next_step():
    """One call of a million steps, which would take a quarter of an hour, is left; then all is as it was before."""
    made = trainer(steps_per_loop=10**6)
    source = classified()
    pipeline = data.Pipeline(source, 7)
    made.fit(pipeline, epochs=1)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def interrupt():
        while int(made.state.step) < 50:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    class Epochless:
        """The same data as one epoch without end, so that no boundary comes."""

        batch_size, steps_per_epoch, info = 7, 10**6, None

        def training(self, seed, epoch, index):
            return pipeline.training(seed, 0, 0)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    history = made.fit(Epochless(), epochs=2)
    thread.join(10)
    assert history.stopped_by == "signal"
    assert history.signal == signal.SIGINT
    assert 50 <= int(made.state.step) < 10**6
    assert history.records == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_bar_shows_what_it_should_on_a_terminal(monkeypatch):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    shown = bytearray()

    def read():
        # Reading raises when the other side is closed.
        with contextlib.suppress(OSError):
            while block := os.read(master, 1 << 16):
                shown.extend(block)

    reader = threading.Thread(target=read)
    reader.start()
    with open(slave, "w", buffering=1) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        trainer(steps_per_loop=2).fit(data.Pipeline(classified(), 7), epochs=3, hooks=[engine.hooks.Progress()])
    reader.join()
    os.close(master)
    for part in ("epoch 3/3", "24/24", "loss=", "accuracy=", "examples/s=", "step/s", "<00:0"):
        assert part in shown.decode(), shown.decode()


def test_the_bar_is_quiet_elsewhere(capfd):
    trainer().fit(data.Pipeline(classified(), 7), epochs=1, hooks=[engine.hooks.Progress()])
    assert capfd.readouterr() == ("", "")


class Losses(engine.hooks.Hook):
    """Replaces a monitored value by a script."""

    def __init__(self, values, split="validation"):
        super().__init__("losses")
        self._values, self._split = iter(values), split

    def on_evaluate_end(self, run, record):
        if self._split == "validation":
            record["loss"] = next(self._values)

    def on_epoch_end(self, run, record):
        if self._split == "train":
            record["loss"] = next(self._values)


def epoch_lines(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]


def test_each_epoch_has_a_line_and_the_best_so_far_is_marked(capsys):
    pipeline = data.Pipeline(classified(), 25)
    hooks = [Losses([3.0, 1.0, 2.0, 0.5]), engine.hooks.EpochLines()]
    trainer().fit(pipeline, epochs=4, validation=pipeline, hooks=hooks)
    lines = epoch_lines(capsys)
    assert [line.split("  ")[0] for line in lines] == [f"epoch {n}/4" for n in (1, 2, 3, 4)]
    assert [line.endswith("  * best validation loss") for line in lines] == [True, True, False, True]
    for part in ("step      2", "accuracy 0.", "validation loss 3.0000 accuracy", " s"):
        assert part in lines[0]
    assert "examples/s" in lines[1]


def test_the_speed_in_a_line_is_that_of_its_epoch(capsys):
    class Clock(engine.hooks.Hook):
        def on_epoch_end(self, run, record):
            run.timed_examples, run.timed_s = {1: (100, 1.0), 2: (200, 11.0), 3: (200, 11.0)}[record["epoch"]]

    trainer().fit(data.Pipeline(classified(), 25), epochs=3, hooks=[Clock("clock"), engine.hooks.EpochLines()])
    assert [re.findall(r"(\d+) examples/s", line) for line in epoch_lines(capsys)] == [["100"], ["10"], []]


def test_without_validation_the_training_loss_is_marked_and_any_value_may_be(capsys):
    pipeline = data.Pipeline(classified(), 25)
    trainer().fit(pipeline, epochs=3, hooks=[Losses([3.0, 4.0, 2.0], "train"), engine.hooks.EpochLines()])
    assert [line.endswith("* best train loss") for line in epoch_lines(capsys)] == [True, False, True]
    trainer(optimizer=optim.SGD(1e-9)).fit(
        pipeline, epochs=2, validation=pipeline, hooks=[engine.hooks.EpochLines("validation.accuracy")]
    )
    # Nothing is learnt: only the first is better than none.
    assert ["* best validation accuracy" in line for line in epoch_lines(capsys)] == [True, False]
    with pytest.raises(ValueError, match=r"monitors validation\.loss, but fit has no validation pipeline"):
        trainer().fit(pipeline, epochs=1, hooks=[engine.hooks.EpochLines("validation.loss")])


def test_a_resumed_run_remembers_its_best_epoch(tmp_path, capsys):
    pipeline = data.Pipeline(classified(), 25)
    for epochs, values in ((2, [1.0, 2.0]), (4, [1.5, 0.5])):
        hooks = [Losses(values), engine.hooks.EpochLines(), engine.hooks.Checkpoint(tmp_path)]
        trainer().fit(pipeline, epochs=epochs, validation=pipeline, hooks=hooks)
    marked = ["* best" in line for line in epoch_lines(capsys)]
    assert marked == [True, False, False, True]
