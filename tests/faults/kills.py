"""Runs that are killed again and again, beside the same runs left alone."""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import math
import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.faults.moments import MOMENTS
from tests.faults.processes import Folder, Process
from tests.faults.settings import SETTINGS, Setting


@dataclasses.dataclass(frozen=True)
class Kill:
    """One SIGKILL: what the process was doing, the step it had told of, and how many steps were to be done again."""

    doing: str
    step: int
    repeated: int

    def __str__(self) -> str:
        return f"{self.doing} at step {self.step}"


def undisturbed(setting: Setting, run_dir: Path) -> Path:
    """The run left alone."""
    with Process(setting.command(run_dir), run_dir) as process:
        code = process.finish()
        assert code == 0, f"exit code {code}: {process.err.read_text()}"
    return run_dir


def killed(setting: Setting, run_dir: Path, moments: Iterable[Callable], chance: random.Random) -> list[Kill]:
    """The run killed at each of `moments`, spread over its steps, and started again with the same command to its end.

    A moment that does not come before the end is no kill.
    """
    kills, moments, folder = [], list(moments), Folder(run_dir)
    for number, moment in enumerate(moments):
        saved = (folder.saved_steps or [0])[-1]
        room = max(1, (setting.steps - saved) // (len(moments) - number + 1))
        with Process(setting.command(run_dir), run_dir) as process:
            doing = moment(process, saved + chance.randint(1, room), chance)
            if doing is None:
                code = process.finish()
                assert code == 0, f"exit code {code}: {process.err.read_text()}"
                return kills
            process.kill()
        step = folder.last_step
        kills.append(Kill(doing, step, max(0, step - (folder.saved_steps or [0])[-1])))
    undisturbed(setting, run_dir)
    return kills


COMPARED = ("steps", "epochs", "train", "validation", "test", "weights_sha256", "stopped_by")


def differences(expected: Path, found: Path) -> list[str]:
    """What tells two finished runs apart; empty if nothing does."""
    results = [json.loads((run / "result.json").read_text()) for run in (expected, found)]
    different = [
        f"{key}: {results[0].get(key)} undisturbed, {results[1].get(key)} killed"
        for key in COMPARED
        if results[0].get(key) != results[1].get(key)
    ]
    states = [_newest_state(run) for run in (expected, found)]
    if states[0] != states[1]:
        different.append("the newest checkpoint holds another state")
    histories = [(run / "history.jsonl").read_bytes() for run in (expected, found)]
    if histories[0] != histories[1]:
        different.append("history.jsonl differs")
    steps = [r["step"] for r in map(json.loads, histories[1].splitlines()) if r["split"] == "train"]
    twice = [step for step, count in collections.Counter(steps).items() if count > 1]
    lost = set(range(1, results[1]["steps"] + 1)) - set(steps)
    different += [f"steps {what}: {sorted(which)}" for what, which in (("twice", twice), ("lost", lost)) if which]
    return different


def _newest_state(run: Path) -> list[bytes]:
    """Everything that a run is at its end, what its hooks remember included: the files of values, byte for byte."""
    newest = max((run / "checkpoints").glob("step-*"))
    return [file.read_bytes() for file in sorted(newest.glob("variables.*"))]


@dataclasses.dataclass
class Tally:
    """kills: (setting's name, kill); runs: how many killed runs were compared; different: what was found by run."""

    kills: list[tuple[str, Kill]] = dataclasses.field(default_factory=list)
    runs: int = 0
    different: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def by_activity(self) -> collections.Counter:
        """How many kills came while the process did what."""
        return collections.Counter(kill.doing for _, kill in self.kills)


def rounds(count: int, chance: random.Random) -> list[tuple[Setting, list[Callable]]]:
    """`count` kills dealt to runs: every setting and every moment in turn, five to a run, fewer if there are few."""
    size = min(len(MOMENTS), math.ceil(count / len(SETTINGS)))
    moments = list(itertools.islice(itertools.cycle(MOMENTS), count))
    dealt = [moments[begin : begin + size] for begin in range(0, count, size)]
    for part in dealt:
        chance.shuffle(part)
    return list(zip(itertools.cycle(SETTINGS), dealt))


def campaign(count: int, folder: Path, seed: int, *, workers: int = 2, told: Callable = print) -> Tally:
    """Kills runs `count` times, `workers` of them at a time, and compares each with the run left alone.

    Moments that did not come are dealt again, three times at most.
    """
    tally, chance = Tally(), random.Random(seed)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        alone = {}
        for attempt in range(4):
            missing, jobs = count - len(tally.kills), {}
            if missing <= 0:
                break
            for number, (setting, moments) in enumerate(rounds(missing, chance)):
                if setting not in alone:
                    alone[setting] = pool.submit(undisturbed, setting, folder / f"undisturbed_{len(alone)}")
                run_dir = folder / f"killed_{attempt}_{number}"
                job = pool.submit(killed, setting, run_dir, moments, random.Random(chance.random()))
                jobs[job] = (setting, run_dir)
            for job in concurrent.futures.as_completed(jobs):
                setting, run_dir = jobs[job]
                kills = job.result()
                tally.kills += [(setting.name, kill) for kill in kills]
                tally.runs += 1
                if found := differences(alone[setting].result(), run_dir):
                    tally.different[f"{run_dir} ({setting.name})"] = found
                else:
                    shutil.rmtree(run_dir)
                told(f"{len(tally.kills)} kills: {setting.name}: {', '.join(map(str, kills))}: {found or 'equal'}")
    return tally
