"""Which settings train fastest, found out by training: the model, the data and the processor are the user's own."""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import absl.logging
import numpy as np

from engine.hooks.hook import Hook
from engine.non_finite import NonFinite
from engine.run import is_count
from engine.trainer import Trainer

# Where a loop would take longer than this, a longer one gains nothing that could be measured.
_LONGEST_LOOP_S = 2.0


class Timing(NamedTuple):
    """One setting. flags: by the names of the Trainer's arguments, which are those of `train.py`.

    seconds: of a step, the median of the rounds, all that comes between calls of the loop included; None if it does not
    work. fastest, slowest: of the rounds; first: seconds to the end of the first step, tracing and compiling included.
    reason: why it does not work.
    """

    flags: dict[str, Any]
    seconds: float | None
    fastest: float | None = None
    slowest: float | None = None
    first: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        flags = ", ".join(f"{name}={value}" for name, value in self.flags.items())
        if self.seconds is None:
            return f"{flags}: {self.reason}"
        numbers = [1000 * value for value in (self.seconds, self.fastest, self.slowest)]
        return f"{flags}: {numbers[0]:.3f} ms a step ({numbers[1]:.3f} to {numbers[2]:.3f}), first {self.first:.1f} s"


class Tuning(NamedTuple):
    """What `tune` found. ranking: every setting that was timed, the fastest first, then those that do not work."""

    ranking: list[Timing]

    @property
    def flags(self) -> dict[str, Any]:
        """The fastest setting, by the names of the Trainer's arguments and of `train.py`'s flags."""
        return self.ranking[0].flags

    def __str__(self) -> str:
        return "\n".join(map(str, self.ranking))


class _Clock(Hook):
    """When the first loop of a fit returned, and the last, and after which step."""

    def __init__(self):
        super().__init__("clock")
        self.seen: list[tuple[int, float]] = []

    def on_fit_begin(self, run):
        self.seen = []

    def on_steps(self, run, first, steps):
        self.seen.append((first + len(steps) - 1, time.perf_counter()))

    @property
    def seconds(self) -> float:
        (first, begun), (last, ended) = self.seen[0], self.seen[-1]
        return (ended - begun) / (last - first)


def tune(
    trainer: Trainer,
    train: Any,
    *,
    jit_compile: Sequence[bool | str] = (False, True, "loop"),
    steps_per_loop: Sequence[int] = (1, 10, 100, 1000),
    rounds: int = 5,
) -> Tuning:
    """Times settings of a trainer on its own model and data, and leaves trainer, model and optimizer as they were.

    First each `jit_compile` that goes with the trainer, then each of `steps_per_loop` with the fastest of them; a loop
    that would run longer than two seconds, or than an epoch, is left out. Each round times every setting once, so that
    what else the machine does hits all alike; the order of the ranking is that of the medians. Nothing is evaluated or
    saved, and no hook of the trainer's runs.
    Compiling for another number of rows (an epoch's short last batch) is done before the clock runs only if an epoch is
    that short. RuntimeError: no setting works.
    """
    if not is_count(rounds) or not jit_compile or not all(map(is_count, steps_per_loop)):
        raise ValueError("tune needs at least one round and one jit_compile, and whole numbers of steps_per_loop")
    state = trainer.state.variables_by_path()
    before = {path: np.array(variable.numpy()) for path, variable in state.items()}
    timed = []
    try:
        contenders = [_Contender(trainer, {"jit_compile": j, "steps_per_loop": 1}, train) for j in jit_compile]
        step_s = min((c.step_s for c in contenders if c.step_s is not None), default=None)
        if step_s is None:
            raise RuntimeError(f"tune: no setting trains: {'; '.join(str(c.timing()) for c in contenders)}")
        longest = max(1, min(train.steps_per_epoch, int(_LONGEST_LOOP_S / step_s)))
        steps = min(trainer.steps_per_loop, longest)
        for contender in contenders:
            contender.set_steps(steps)
        timed += _timed(contenders, rounds)
        best = min((c for c in contenders if c.step_s is not None), key=lambda c: c.timing().seconds)
        others = [n for n in dict.fromkeys(steps_per_loop) if n <= longest and n != steps]
        more = [best.with_steps(n) for n in others]
        timed += _timed(more, rounds)
    finally:
        for path, variable in state.items():
            variable.assign(before[path])
    return Tuning(sorted(timed, key=lambda timing: float("inf") if timing.seconds is None else timing.seconds))


def _timed(contenders, rounds):
    for _ in range(rounds):
        for contender in contenders:
            contender.round()
    return [contender.timing() for contender in contenders]


class _Contender:
    """A trainer of its own, of the same model and optimizer, with its own position."""

    def __init__(self, trainer: Trainer, flags: dict, train: Any):
        self.flags, self.train, self.clock, self.rounds, self.reason = flags, train, _Clock(), [], None
        self.first = self.step_s = self.trainer = None
        begun = time.perf_counter()
        try:
            self.trainer = Trainer(
                trainer.model,
                trainer.objective,
                trainer.optimizer,
                trainer.metrics,
                seed=trainer.seed,
                strategy=trainer.replicas.strategy,
                precision=trainer.precision.name,
                accumulate_steps=trainer.accumulate_steps,
                average=trainer.state.average,
                loss_scaling=trainer.state.loss_scale or "none",
                on_non_finite="skip",
                max_non_finite=2**62,
                **flags,
            )
            self._fit(1)
            self.first = time.perf_counter() - begun
            self._fit(3)
            self.step_s = self.clock.seconds
        except (ValueError, NonFinite) as error:
            self.reason = str(error).splitlines()[0]
            absl.logging.info("tune: %s: %s", flags, self.reason)

    def set_steps(self, steps: int) -> None:
        """How many steps a loop takes."""
        self.flags = {**self.flags, "steps_per_loop": steps}
        if self.trainer is not None:
            self.trainer.steps_per_loop = steps

    def with_steps(self, steps: int) -> "_Contender":
        """This one with loops of another length; nothing is compiled again."""
        other = object.__new__(_Contender)
        other.__dict__.update(self.__dict__)
        other.rounds, other.flags = [], {**self.flags, "steps_per_loop": steps}
        return other

    def round(self) -> None:
        """One loop to get under way, and another, and at least four steps, on the clock."""
        if self.reason is None:
            self.trainer.steps_per_loop = self.flags["steps_per_loop"]
            self._fit(max(2 * self.flags["steps_per_loop"], 5))
            self.rounds.append(self.clock.seconds)

    def timing(self) -> Timing:
        if self.reason is not None or not self.rounds:
            return Timing(self.flags, None, reason=self.reason)
        times = statistics.median(self.rounds), min(self.rounds), max(self.rounds)
        return Timing(self.flags, *times, first=self.first)

    def _fit(self, steps: int) -> None:
        # The beginning of an epoch: there a loop has its full length.
        state = self.trainer.state
        state.index.assign(0)
        state.reported.assign(state.step)
        self.trainer.fit(self.train, max_steps=int(state.step) + steps, hooks=[self.clock])
