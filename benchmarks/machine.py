"""What the numbers were measured on."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("tensorflow", "keras", "torch", "jax", "jaxlib", "optax", "numpy")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def facts():
    """Processor, memory, load, versions and commit, for `results.json`."""
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in described.splitlines() if ":" in line)
    lines = {key.strip(): value.strip() for key, value in lines.items()}
    flags = lines.get("flags", "").split()
    return {
        "processor": lines.get("model name", platform.processor()),
        "family_model": f"{lines.get('cpu family')}/{lines.get('model')}",
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "processors": processors(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": load(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def processors():
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load():
    """The load average of the last minute: above 0.2 before anything began, others were at work too."""
    return round(os.getloadavg()[0], 2)


def environment(threads):
    """The variables that give every library as many threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {
        **dict.fromkeys((*names, "BENCHMARK_THREADS"), str(threads)),
        "KERAS_BACKEND": "tensorflow",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments):
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
