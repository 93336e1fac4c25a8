"""On what a run runs: enough to know later why two runs differ."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def environment(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Versions, machine, devices and the state of the source, as JSON can hold them.

    command: what was typed; by default this process's arguments. `git` is the commit of the folder of this package,
    with `-dirty` where files differ from it, or None where there is none.
    """
    return {
        "command": list(sys.argv if command is None else command),
        "python": platform.python_version(),
        "tensorflow": tf.version.VERSION,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": [
            {"name": device.name.removeprefix("/physical_device:"), "kind": _kind(device)}
            for device in tf.config.list_physical_devices()
        ],
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(("TF_", "XLA_"))},
        "git": _git(Path(__file__).parent),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _kind(device: tf.config.PhysicalDevice) -> str:
    return tf.config.experimental.get_device_details(device).get("device_name", device.device_type)


def _git(folder: Path) -> str | None:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        # The package may lie in somebody else's repository, ignored by it: then that says nothing.
        subprocess.run(
            [*command[:3], "ls-files", "--error-unmatch", __file__], capture_output=True, check=True, timeout=9
        )
        return subprocess.run(command, capture_output=True, check=True, timeout=9, text=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
