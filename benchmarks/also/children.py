"""Functions run in processes of their own."""

import json
import os
import subprocess
import sys

from benchmarks import machine

_CODE = """
import importlib, json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
if hasattr(os, "sched_setaffinity"):
    count = int(os.environ["BENCHMARK_THREADS"])
    first = count * int(os.environ.get("BENCHMARK_PLACE", 0))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[first : first + count])
module, name, arguments = json.loads(sys.argv[1])
print(json.dumps(getattr(importlib.import_module(module), name)(*arguments)), file=out)
"""


def call_all(function, arguments, *, threads, environments=({},), timeout=600):
    """The results of `function(*arguments)` in as many fresh processes at once as there are environments.

    The function is public in its module; arguments and results go through JSON. Each process has `threads` processors
    of its own. RuntimeError with its last line if one failed.
    """
    called = json.dumps([function.__module__, function.__name__, arguments])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = []
    try:
        for place, own in enumerate(environments):
            env = {**os.environ, **machine.environment(threads), "BENCHMARK_PLACE": str(place), **own}
            processes.append(subprocess.Popen([sys.executable, "-c", _CODE, called], env=env, **pipes))
        results = []
        for process in processes:
            out, errors = process.communicate(timeout=timeout)
            if process.returncode:
                raise RuntimeError((errors.strip().splitlines() or ["it was killed"])[-1])
            results.append(json.loads(out))
        return results
    finally:
        for process in processes:
            process.kill()


def call(function, *arguments, threads):
    """The result of a function in a fresh process."""
    return call_all(function, arguments, threads=threads)[0]


def memory_mb(field="VmRSS"):
    """Resident memory of this process now, or at its highest with "VmHWM"."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024


def forget_highest():
    """From here on "VmHWM" counts anew."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
