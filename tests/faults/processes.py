"""A process that trains, seen from outside: its run directory, its Python stacks, and the signals it gets."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_SITE = Path(__file__).parent / "site"
PATIENCE_S = 1200


def train(run_dir: Path, *flags: str) -> list[str]:
    """The command line."""
    return [sys.executable, str(ROOT / "train.py"), f"--run_dir={run_dir}", *flags]


class Process:
    """A command that works in `run_dir`, started in the folder above it; what it says goes to files there.

    No process outlives the `with`.
    """

    def __init__(self, command: list[str], run_dir: Path):
        self.run_dir = run_dir
        self._stacks = run_dir.with_name(f"{run_dir.name}.stacks")
        self._stacks.unlink(missing_ok=True)
        self.out, self.err = (run_dir.with_name(f"{run_dir.name}.{name}") for name in ("out", "err"))
        inherited = os.environ.get("PYTHONPATH")
        path = f"{_SITE}{os.pathsep}{inherited}" if inherited else str(_SITE)
        env = {**os.environ, "PYTHONPATH": path, "FAULTS_STACKS": str(self._stacks)}
        with self.out.open("w") as out:
            self._process = subprocess.Popen(command, cwd=run_dir.parent, env=env, stdout=out, stderr=subprocess.PIPE)
        # A limit on the process's files must not silence it.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._deadline = time.monotonic() + PATIENCE_S

    def _listen(self) -> None:
        with self.err.open("wb", buffering=0) as file, self._process.stderr as said:
            while block := said.read1():
                file.write(block)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        """Whether it is; one that hangs is an AssertionError."""
        assert time.monotonic() < self._deadline, f"{self._process.args} hangs: {self.err.read_text()}"
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def finish(self) -> int:
        """Waits for its end; its exit code."""
        code = self._process.wait(max(1, self._deadline - time.monotonic()))
        self._listener.join()
        return code

    def send(self, number: int) -> None:
        """A signal."""
        self._process.send_signal(number)

    def wait_for_step(self, step: int) -> None:
        """Returns when its history tells of `step`, or when it has ended."""
        folder = Folder(self.run_dir)
        while self.running and folder.last_step < step:
            time.sleep(0.002)

    def wait_for_word(self, word: str) -> None:
        """Returns when it has said `word` on stderr, or when it has ended."""
        while self.running and not (self.err.exists() and word in self.err.read_text()):
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL, and its end."""
        self._process.kill()
        self._process.wait()
        self._listener.join()

    def freeze(self) -> bool:
        """Stops every thread where it is, so that its files can be looked at; False if it has ended."""
        self.send(signal.SIGSTOP)
        while self.running:
            with contextlib.suppress(OSError, IndexError):
                tasks = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
                if all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks):
                    return True
        return False

    def thaw(self) -> None:
        """Lets it go on."""
        self.send(signal.SIGCONT)

    def doing(self) -> str:
        """What it did a moment ago, by its stacks."""
        if not self._stacks.exists():
            return "starting up"
        before = size = self._stacks.stat().st_size
        self.send(signal.SIGUSR1)
        until = time.monotonic() + 1
        while self.running and time.monotonic() < until:
            time.sleep(0.0005)
            size, seen = self._stacks.stat().st_size, size
            if size == seen > before:
                break
        with self._stacks.open() as file:
            file.seek(before)
            return activity(file.read())


def activity(stacks: str) -> str:
    """What a process does, by the functions that its threads are in."""
    functions = set(re.findall(r'/(trainer|restoring)\.py", line \d+ in (\w+)', stacks))
    trainer = {function for file, function in functions if file == "trainer"}
    if "fit" not in trainer:
        ends = ("restoring", "save_model") in functions or trainer & {"evaluate", "_evaluate"}
        return "after the last step" if ends else "starting up"
    if "_evaluate" in trainer:
        return "evaluating"
    if "_begin" in trainer:
        return "restoring"
    return "at a boundary" if "_boundary" in trainer else "in the loop"


class Folder:
    """What a run directory holds now, while somebody writes there."""

    def __init__(self, run_dir: Path):
        self.history, self.checkpoints = run_dir / "history.jsonl", run_dir / "checkpoints"

    @property
    def last_step(self) -> int:
        """The step of the last whole line in the history; 0 before there is one."""
        with contextlib.suppress(OSError):
            size = self.history.stat().st_size
            with self.history.open("rb") as file:
                file.seek(max(0, size - 4096))
                lines = [line for line in file.read().split(b"\n")[:-1] if line.startswith(b"{")]
            return json.loads(lines[-1])["step"] if lines else 0
        return 0

    @property
    def saved_steps(self) -> list[int]:
        """The steps of the checkpoints, ascending."""
        with contextlib.suppress(OSError):
            return sorted(int(name[5:]) for name in os.listdir(self.checkpoints) if name.startswith("step-"))
        return []

    @property
    def writes(self) -> bool:
        """Whether a checkpoint is begun and not whole."""
        with contextlib.suppress(OSError):
            return any(name.startswith(".writing-step") for name in os.listdir(self.checkpoints))
        return False
