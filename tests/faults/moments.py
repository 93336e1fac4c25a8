"""Moments at which a process is killed, seen from outside.

Each function waits for its moment, leaves the process frozen there and says what it was doing; None if it ended before.
The moments in a write and behind a rename are certain: the frozen folder shows them. The others are told by the stacks,
which are read milliseconds before.
"""

import random
import time

from tests.faults.processes import Folder, Process


def at_any_time(process: Process, after: int, chance: random.Random) -> str | None:
    """From the first instruction of the process on."""
    until = time.monotonic() + chance.uniform(0, 15)
    while process.running and time.monotonic() < until:
        time.sleep(0.002)
    return _frozen(process)


def in_training(process: Process, after: int, chance: random.Random) -> str | None:
    """Anywhere behind step `after`."""
    process.wait_for_step(after)
    time.sleep(chance.uniform(0, 0.2))
    return _frozen(process)


def in_an_evaluation(process: Process, after: int, chance: random.Random) -> str | None:
    """While validation runs."""
    process.wait_for_step(after)
    while process.running:
        if process.doing() == "evaluating":
            time.sleep(chance.uniform(0, 0.003))
            return "evaluating" if process.running and process.freeze() else None
    return None


def in_a_write(process: Process, after: int, chance: random.Random) -> str | None:
    """Between the first byte of a checkpoint and its rename."""
    process.wait_for_step(after)
    folder = Folder(process.run_dir)
    while process.running:
        if folder.writes:
            time.sleep(chance.uniform(0, 0.002))
            if not process.freeze():
                return None
            if folder.writes:
                return "writing a checkpoint"
            process.thaw()
    return None


def behind_a_rename(process: Process, after: int, chance: random.Random) -> str | None:
    """A checkpoint has just got its name, and no step behind it has been told of."""
    process.wait_for_step(after)
    folder = Folder(process.run_dir)
    known = folder.saved_steps
    while process.running:
        if (now := folder.saved_steps) != known:
            if not process.freeze():
                return None
            saved = folder.saved_steps
            if saved and saved[-1] == folder.last_step and not folder.writes:
                return "between a rename and the next step"
            process.thaw()
            known = now
    return None


MOMENTS = (in_a_write, in_training, in_an_evaluation, behind_a_rename, at_any_time)


def _frozen(process: Process) -> str | None:
    if not process.running:
        return None
    doing = process.doing()
    if not (process.running and process.freeze()):
        return None
    return "writing a checkpoint" if Folder(process.run_dir).writes else doing
