"""Time to the first step, and memory at its highest, for ours and for Keras: fresh processes in turns."""

import importlib
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.also.children import call, forget_highest, memory_mb
from benchmarks.peers import PEERS
from benchmarks.ratios import ratio
from benchmarks.works import WORKS, arrays

_PEERS = ("ours", "keras")


def save_weights(name, path):
    """Writes what both begin with."""
    from benchmarks.peers import ours

    np.savez(path, **ours.initial_weights(WORKS[name]))


def once(peer, name, path):
    """What one start takes: seconds to import, then seconds to the end of the first step; MB above TensorFlow's import.

    Memory is at its highest somewhere in the first step and two epochs.
    """
    begun = time.perf_counter()
    import tensorflow  # noqa: F401

    before = memory_mb()
    module = importlib.import_module(PEERS[peer].module)
    imported = time.perf_counter()
    work = WORKS[name]
    with np.load(path) as file:
        weights, numbers = dict(file), arrays(work)
    forget_highest()
    made = time.perf_counter()
    contender = module.Contender(work, weights, numbers, **PEERS[peer].options)
    contender.first(1)
    first = time.perf_counter()
    contender.epochs(2)
    highest = memory_mb("VmHWM") - before
    return {"import_s": imported - begun, "first_step_s": first - made, "highest_mb": highest}


def measure(flags, tell):
    """{work: {peer: what `once` gave, by round}} of the works that train."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.works:
            if WORKS[name].task != "train":
                continue
            path, starts = str(Path(folder, f"{name}.npz")), {peer: [] for peer in _PEERS}
            call(save_weights, name, path, threads=flags.threads)
            for _ in range(flags.rounds):
                for peer in _PEERS:
                    starts[peer].append(call(once, peer, name, path, threads=flags.threads))
            said = []
            for key in ("import_s", "first_step_s", "highest_mb"):
                ours, keras = ([start[key] for start in starts[peer]] for peer in _PEERS)
                of = ratio(ours, keras)
                numbers = f"{statistics.median(ours):.3g} against {statistics.median(keras):.3g}"
                shown = f"{of.low:.2f} to {of.high:.2f}"
                shown = f"? ({shown})" if of.swallowed else f"**{of.median:.2f}** ({shown})"
                said.append(f"{key} {numbers}, {shown}")
            tell(f"{name}, ours against Keras: " + "; ".join(said))
            found[name] = starts
    return found
