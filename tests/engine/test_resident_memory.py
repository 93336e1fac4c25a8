"""Resident memory stays where it is: over many steps of one model, and over many models in one process."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import data
import engine
import layers
import optim

PIPELINE = data.Pipeline(data.Arrays(np.zeros((40, 6), np.float32), np.zeros(40, np.int32)), 5)


def resident():
    """Bytes."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trainer():
    # Small tensors: large ones that are freed leave gaps, which say nothing of who holds what.
    return engine.Trainer(
        layers.Dense(6, 3), "sparse_categorical_crossentropy", optim.SGD(0.1), jit_compile=False, steps_per_loop=500
    )


def growth_over_models(count, keep=None):
    before = None
    for number in range(count + 2):
        if number == 2:
            # What the first models bring, later ones use.
            before = resident()
        made = trainer()
        made.fit(PIPELINE, max_steps=8, validation=PIPELINE)
        if keep is not None:
            keep.append(made)
        del made
        # What is left in cycles goes when Python next looks.
        gc.collect()
    return resident() - before


def growth_over_steps(steps):
    made = trainer()
    made.fit(PIPELINE, max_steps=100)
    before = resident()
    made.fit(PIPELINE, max_steps=100 + steps)
    return resident() - before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from Linux' /proc")
def test_models_that_nobody_holds_leave_nothing_behind():
    # In a process of its own: what other tests have freed would be used again, and nothing seem to grow.
    command, root = [sys.executable, __file__], Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stderr
    allowed, growth, growth_if_held, held = json.loads(found.stdout.splitlines()[-1])
    assert growth < allowed
    # Trainers that are held are seen by the same measure.
    assert held == 6
    assert growth_if_held > allowed


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from Linux' /proc")
def test_steps_leave_nothing_behind_but_their_losses():
    assert growth_over_steps(400) < 0.01 * resident()


@pytest.mark.soak
def test_memory_is_flat_over_20_000_steps_and_over_200_models():
    allowed = 0.01 * resident()
    assert growth_over_steps(20_000) < allowed
    assert growth_over_models(200) < allowed


if __name__ == "__main__":
    kept: list = []
    print(json.dumps([0.01 * resident(), growth_over_models(4), growth_over_models(4, kept), len(kept)]))
