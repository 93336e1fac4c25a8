"""The tables of docs/scaling.md: what a step costs on hundreds of GPUs, on paper.

python -m benchmarks.scaling
"""

import dataclasses
import math

GPUS = (8, 64, 256, 512)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is assumed of the machines; rates in bytes or operations a second, latencies in seconds."""

    gpus_a_host: int = 8
    peak: float = 312e12
    used: float = 0.3
    within: float = 200e9
    between: float = 40e9
    latency: float = 5e-6
    to_host: float = 10e9
    disk: float = 1e9
    gpu_days_between_failures: float = 1900.0


@dataclasses.dataclass(frozen=True)
class Training:
    """What is assumed of a model: operations of a step on one GPU, trained numbers, examples, and what is saved."""

    title: str
    operations: float
    parameters: float
    examples: int
    synced_norms: int
    slots: int
    read_bytes: float


RESNET = Training("ResNet-50, 64 pictures a GPU, SGD", 64 * 3 * 2 * 4.1e9, 25.6e6, 64, 53, 1, 110e3)
LANGUAGE = Training(
    "transformer of 1.3·10⁹, 8 texts of 2,048 tokens a GPU, Adam", 6 * 1.3e9 * 8 * 2048, 1.3e9, 8, 0, 2, 8192
)


def compute_seconds(training, cluster):
    """Forward and backward of one GPU's slice."""
    return training.operations / (cluster.peak * cluster.used)


def all_reduce_seconds(size, gpus, cluster):
    """2(n − 1)/n of the bytes through the narrowest link, and the way up and down a tree.

    Within a host n is its GPUs and the link theirs. Between hosts n are the hosts, and each host's link carries what
    its GPUs have summed.
    """
    hosts = -(-gpus // cluster.gpus_a_host)
    local = min(gpus, cluster.gpus_a_host)
    seconds = 2 * (local - 1) / local * size / cluster.within + 2 * (hosts - 1) / hosts * size / cluster.between
    return seconds + 2 * math.ceil(math.log2(gpus)) * cluster.latency if gpus > 1 else 0.0


def step_seconds(training, gpus, cluster, *, synced, overlapped=False):
    """(compute, gradients, norms, all): as the engine has it, one all-reduce of all gradients after the backward pass.

    overlapped: what it would be if all but the last tenth of the gradients travelled during the backward pass, which
    is two thirds of the computing.
    """
    compute = compute_seconds(training, cluster)
    gradients = all_reduce_seconds(4 * training.parameters, gpus, cluster)
    # Sums and centred squares, forward; and the gradient of each.
    norms = 4 * training.synced_norms * all_reduce_seconds(1024, gpus, cluster) if synced else 0.0
    waited = max(0.1 * gradients, gradients - compute * 2 / 3) if overlapped else gradients
    return compute, gradients, norms, compute + waited + norms


def checkpoint(training, gpus, cluster):
    """(bytes, seconds until training goes on, seconds until it is written, seconds between two: Young 1974)."""
    size = 4 * training.parameters * (1 + training.slots)
    waited, written = size / cluster.to_host, size / cluster.disk
    return size, waited, written, math.sqrt(2 * waited * cluster.gpu_days_between_failures * 86_400 / gpus)


def tables(cluster=None):
    """Markdown."""
    cluster, lines = cluster or Cluster(), []
    for training in (RESNET, LANGUAGE):
        lines += [
            f"**{training.title}**\n",
            "| GPUs | computing, ms | gradients, ms | synced norms, ms | efficiency | … without synced norms "
            "| … and overlapped | examples/s | read by a host, MB/s | a checkpoint every, min |",
            "|---" * 10 + "|",
        ]
        for gpus in GPUS:
            compute, gradients, norms, whole = step_seconds(training, gpus, cluster, synced=True)
            unsynced = step_seconds(training, gpus, cluster, synced=False)[-1]
            overlapped = step_seconds(training, gpus, cluster, synced=False, overlapped=True)[-1]
            rate = training.examples * gpus / whole
            read = training.read_bytes * rate * min(1, cluster.gpus_a_host / gpus)
            every = checkpoint(training, gpus, cluster)[-1]
            lines.append(
                f"| {gpus} | {1e3 * compute:.0f} | {1e3 * gradients:.1f} | {1e3 * norms:.1f} | {compute / whole:.0%} "
                f"| {compute / unsynced:.0%} | {compute / overlapped:.0%} | {rate:,.0f} | {read / 1e6:.3g} "
                f"| {every / 60:.0f} |"
            )
        size, waited, written, _ = checkpoint(training, GPUS[0], cluster)
        lines.append(
            f"\nA checkpoint is {size / 1e9:.2g} GB: training waits {waited:.2g} s, the file is there after "
            f"{written:.2g} s more.\n"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables())
