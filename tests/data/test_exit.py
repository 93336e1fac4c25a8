"""A process ends while TensorFlow's threads still read through Python."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import time
import numpy as np
import data

class Slow:
    arrays, info = None, data.Info("slow")

    def __len__(self):
        return 10**6

    def __getitem__(self, indices):
        begun = time.perf_counter()
        while time.perf_counter() < begun + 0.005:
            pass
        return {"inputs": indices}

dataset = data.Pipeline(Slow(), 4).training(seed=0)
iterators = [iter(dataset) for _ in range(20)]
for iterator in iterators:
    next(iterator)
print("done")
"""


def test_a_process_ends_although_its_pipelines_are_still_reading():
    """Without iterators freed in time this waits for ever: a thread that asks a dying Python never comes back."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": root}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (found.returncode, found.stdout) == (0, "done\n"), found.stderr
