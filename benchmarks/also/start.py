"""Time to the first step, and memory at its highest, for ours and for Keras: fresh processes in turns."""

import importlib
import statistics
import time

from benchmarks.also.children import call, forget_highest, memory_mb
from benchmarks.peers import PEERS
from benchmarks.ratios import ratio
from benchmarks.works import WORKS, arrays

_PEERS = ("ours", "keras")


def once(peer, name):
    """What one start takes: seconds to import, from there to the end of the first step; MB above the import's."""
    begun = time.perf_counter()
    import tensorflow  # noqa: F401

    tensorflow_mb = memory_mb()
    module = importlib.import_module(PEERS[peer].module)
    imported = time.perf_counter()
    work = WORKS[name]
    ours = importlib.import_module(PEERS["ours"].module)
    weights, numbers = ours.initial_weights(work), arrays(work)
    forget_highest()
    made = time.perf_counter()
    contender = module.Contender(work, weights, numbers, **PEERS[peer].options)
    contender.first(1)
    first = time.perf_counter()
    contender.epochs(2)
    highest = memory_mb("VmHWM") - tensorflow_mb
    return {"import_s": imported - begun, "first_step_s": first - made, "highest_mb": highest}


def measure(flags, tell):
    found = {}
    for name in flags.works:
        if WORKS[name].task != "train":
            continue
        starts = {peer: [] for peer in _PEERS}
        for _ in range(flags.rounds):
            for peer in _PEERS:
                starts[peer].append(call(once, peer, name, threads=flags.threads))
        said = []
        for key in ("import_s", "first_step_s", "highest_mb"):
            ours, keras = ([start[key] for start in starts[peer]] for peer in _PEERS)
            of = ratio(ours, keras)
            numbers = f"{statistics.median(ours):.3g} against {statistics.median(keras):.3g}"
            said.append(f"{key} {numbers}, {of.median:.2f} ({of.low:.2f} to {of.high:.2f})")
        tell(f"{name}: " + "; ".join(said))
        found[name] = starts
    return found
