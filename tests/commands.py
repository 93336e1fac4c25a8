"""The command line as a person uses it, for the tests that start it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = [
    "--model=mlp",
    "--units=8",
    "--batch_size=500",
    "--validation_fraction=0.1",
    "--optimizer=adamw",
    "--schedule=cosine",
]


def start(run_dir, *arguments):
    """The command line as a process of its own."""
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, f"--run_dir={run_dir}", *arguments]
    return subprocess.Popen(
        command, cwd=run_dir.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def finish(process, code=0):
    """What a process says until its end, which must be this one."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out, err


def result(run_dir):
    """What `result.json` says."""
    return json.loads((run_dir / "result.json").read_text())


def lines(run_dir):
    """How many lines of history there are."""
    file = run_dir / "history.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def wait_for_lines(process, run_dir, count):
    """Returns when the process has written so many lines of history."""
    deadline = time.monotonic() + 240
    while lines(run_dir) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no history came"
        time.sleep(0.01)
