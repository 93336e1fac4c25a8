"""A run that a fault disturbs, and what a person sees of it."""

import dataclasses
import random
import re
import shutil
import time
from pathlib import Path

from tests.faults.processes import Folder, Process
from tests.faults.settings import Setting


@dataclasses.dataclass
class Case:
    """A run to be disturbed."""

    setting: Setting
    run_dir: Path
    chance: random.Random

    def start(self) -> Process:
        """The command line, the same each time."""
        return Process(self.setting.command(self.run_dir), self.run_dir)

    def finish(self, code: int = 0, prefix: tuple[str, ...] = ()) -> str:
        """Starts it, behind `prefix`, and lets it end; what it said on stderr."""
        with Process([*prefix, *self.setting.command(self.run_dir)], self.run_dir) as process:
            found = process.finish()
            said = process.err.read_text()
            assert found == code, f"exit code {found} instead of {code}: {said}"
        return said

    def run_to_a_step(self, process: Process) -> None:
        """Lets it come to a random step behind its third checkpoint and before its last epoch."""
        process.wait_for_step(self.chance.randint(18, self.setting.steps - 30))
        time.sleep(self.chance.uniform(0, 0.05))
        assert process.running, process.err.read_text()

    def kill(self) -> Path:
        """Runs to a random step and is killed there; its newest checkpoint."""
        with self.start() as process:
            self.run_to_a_step(process)
            process.kill()
        # A write that was complete but for its name would be newer than the newest: as if the kill had come before it.
        for begun in (self.run_dir / "checkpoints").glob(".writing-*"):
            shutil.rmtree(begun)
        return self.run_dir / "checkpoints" / f"step-{Folder(self.run_dir).saved_steps[-1]:08d}"


def line_with(said: str, word: str) -> str:
    """The line with `word`, its places and numbers made general."""
    found = [line for line in said.splitlines() if word in line]
    assert found, f"nobody said {word!r}: {said}"
    line = re.sub(r"^[EW]\d{4} \S+ +\d+ \S+\] ", "", found[0])
    line = re.sub(r"/\S*/(run_\d+)", "runs/run", line)
    line = re.sub(r"\S*/\.writing-[^;]*", "…", line)
    line = re.sub(r"step-\d+", "step-…", line)
    return re.sub(r"process \d+ on \S+?:", "process 4711 on host:", line)
