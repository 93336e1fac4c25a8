"""A contender in a process of its own: reads a request a line, answers each with a line, both JSON.

    python -m benchmarks.contender PEER WORK WEIGHTS.npz

The parent, `benchmarks.rounds`, starts it. It runs on the first BENCHMARK_THREADS processors only.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

from benchmarks.peers import PEERS
from benchmarks.works import WORKS, arrays


def answer(contender, request):
    """What is told of one request."""
    if request["do"] == "first":
        return {"losses": [float(loss) for loss in contender.first(request["steps"])]}
    begun = time.perf_counter()
    # What computes its time from parts says so itself.
    seconds = contender.epochs(request["count"])
    return {"seconds": time.perf_counter() - begun if seconds is None else seconds}


def main():
    # Libraries print: their lines go where errors go.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["BENCHMARK_THREADS"])])
    peer, work = PEERS[sys.argv[1]], WORKS[sys.argv[2]]
    module = importlib.import_module(peer.module)
    if not os.path.exists(sys.argv[3]):
        np.savez(sys.argv[3], **module.initial_weights(work))
    with np.load(sys.argv[3]) as file:
        contender = module.Contender(work, dict(file), arrays(work), **peer.options)
    print(json.dumps({"note": contender.note}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(contender, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
