"""Replicas: copies of the model that share every update, in this process or in several."""

import contextlib
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from engine.context import StepContext
from engine.names import variable_paths
from engine.slices import batch_rows, part, take

# What TensorFlow raises in a worker whose peers are gone, and what it says then: the errors have other reasons as well.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)


_SAID = re.compile(
    ".*(Collective ops is aborted|Socket closed|Connection re(set|fused)|heartbeat|CoordinationService|remote target).*"
)


class WorkerLost(RuntimeError):
    """Another worker died or could not be reached: this one can't go on alone."""

    def __init__(self, error: Exception):
        said = _SAID.search(str(error))
        super().__init__(
            "a worker was lost: start all of them again, and the run goes on from its newest checkpoint "
            f"({said[0].strip()[:200] if said else error})"
        )


class Slice(NamedTuple):
    """A replica's rows of a batch: where they begin in the global batch, and how many count.

    valid_rows: () where all do: a loop can carry nothing, but not None.
    """

    batch: Any
    first_row: tf.Tensor
    valid_rows: tf.Tensor | tuple


class Replicas:
    """Who shares an update, and how they speak to each other.

    strategy: a `tf.distribute.Strategy`, or None for one replica without any.
    count: replicas in all; local: those of this process; worker, workers: which process this is, and of how many.
    chief: whether this process writes what is written once.
    devices: of the local replicas (None: TensorFlow's default); copies_ahead: whether the next step's slices are worth
        bringing there during this step, as to GPUs.

    A global batch of n rows is cut into contiguous parts: by workers, then by the replicas of each. What replicas
    compute is summed; nothing is ever averaged over them.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        if strategy is not None and not isinstance(strategy, tf.distribute.Strategy):
            raise TypeError(f"strategy must be a tf.distribute.Strategy or None, got {strategy!r}")
        self.strategy = strategy
        self.count = strategy.num_replicas_in_sync if strategy else 1
        self.worker, self.workers = _place(strategy)
        self.local = self.count // self.workers
        self.chief = self.worker == 0
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
        self.devices = list(strategy.extended.worker_devices) if strategy else (gpus or [None])[:1]
        self.copies_ahead = any("GPU" in device for device in self.devices if device)
        self._sum: Callable | None = None

    def __str__(self) -> str:
        where = f" on worker {self.worker} of {self.workers}" if self.workers > 1 else ""
        return f"{self.count} replicas{where}"

    def scope(self) -> contextlib.AbstractContextManager:
        """Where variables of all replicas are made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def check_outside(self, what: str) -> None:
        """Refuses to go on within a strategy's scope, where counters would become variables of all replicas."""
        if tf.distribute.has_strategy():
            raise ValueError(f"{what} belongs outside the strategy's scope, where only model and optimizer are made")

    def check(self, module: tf.Module, what: str) -> None:
        """Refuses variables that were not made in the strategy's scope: each replica would update the one copy."""
        for path, variable in variable_paths(module).items():
            if self.strategy and not self.strategy.extended.variable_created_in_scope(variable):
                raise ValueError(
                    f"variable {path} of the {what} was made outside the strategy's scope, where it would be updated "
                    f"once per replica: make the {what} within `with strategy.scope():`"
                )
            if not self.strategy and isinstance(variable, tf.distribute.DistributedValues):
                raise ValueError(
                    f"variable {path} of the {what} was made in a strategy's scope: give the strategy to the Trainer"
                )

    def run(self, function: Callable, own: Sequence, *arguments) -> list:
        """`function(own[number], *arguments)` on each replica of this process; its results, by replica."""
        if self.strategy is None:
            return [function(own[0], *arguments)]

        def replica(*arguments):
            number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            return function(own[number - self.worker * self.local], *arguments)

        return list(self.strategy.experimental_local_results(self.strategy.run(replica, arguments)))

    def all_reduce(self, tensor: tf.Tensor | tf.IndexedSlices) -> tf.Tensor | tf.IndexedSlices:
        """The sum over all replicas, with its gradient; called in a replica, not inside a loop or condition there."""
        return tensor if self.count == 1 else tf.distribute.get_replica_context().all_reduce("SUM", tensor)

    def slices(self, element: Any) -> list[Slice]:
        """Each local replica's slice of what the pipeline yields, cut on the host and brought to its device.

        element: the batch, or (examples, first_row, rows) of a pipeline's shard where there are several workers.
        """
        if self.count == 1:
            return [self._placed(Slice(element, tf.zeros([], tf.int64), ()), self.devices[0])]
        with tf.device("CPU"):
            batch, begin, rows = element if self.workers > 1 else (element, tf.zeros([], tf.int64), None)
            rows = batch_rows(batch) if rows is None else rows
            cut = [part(rows, number, self.local) for number in range(self.local)]
            slices = [Slice(take(batch, f, own), begin + tf.cast(f, tf.int64), own) for f, own in cut]
        return [self._placed(own, device) for own, device in zip(slices, self.devices, strict=True)]

    def _placed(self, own: Slice, device: str | None) -> Slice:
        if device is None:
            return own
        with tf.device(device):
            return own._replace(batch=tf.nest.map_structure(tf.identity, own.batch))

    def context(self, own: Slice, seed, step) -> StepContext:
        """The step context of a replica's slice."""
        reduce = {"all_reduce": self.all_reduce, "replicas": self.count}
        return StepContext(
            seed, step, own.first_row, own.valid_rows if tf.is_tensor(own.valid_rows) else None, **reduce
        )

    def shard(self) -> dict[str, tuple[int, int]]:
        """What a pipeline is to be told, so that it reads this worker's examples only."""
        return {"shard": (self.worker, self.workers)} if self.workers > 1 else {}

    def agreed(self, flag: tf.Variable) -> tf.Tensor:
        """Whether `flag` is set on any worker: in a compiled loop, between steps; the same answer on all."""
        flag = flag.read_value()
        return flag if self.workers == 1 else self._over_workers(tf.cast(flag, tf.float64)) > 0

    def worker_sum(self, value) -> np.ndarray:
        """The sum of float64 numbers over all workers, on each of them; between loops."""
        value = np.asarray(value, np.float64)
        if self.workers == 1:
            return value
        if self._sum is None:
            self._sum = tf.function(self._over_workers, autograph=False, reduce_retracing=True)
        return self._sum(tf.constant(value)).numpy()

    def lost(self, error: Exception) -> bool:
        """Whether an error means that another worker is gone, and not that something went wrong in this one."""
        return self.workers > 1 and isinstance(error, LOST) and bool(_SAID.search(str(error)))

    def chief_does(self, action: Callable[[], None]) -> None:
        """Runs `action` on the chief. ValueError and OSError that it raises there end all workers; between loops."""
        failed = None
        try:
            if self.chief:
                action()
        except (ValueError, OSError) as error:
            failed = error
        if self.any(failed is not None):
            raise failed or OSError("the chief could not go on, see there")

    def any(self, flag: bool) -> bool:
        """Whether it is so on any worker, between loops; the same answer on all."""
        return bool(self.worker_sum(float(flag)) > 0)

    def agreed_on(self, facts: Any) -> bool:
        """Whether all workers give the same facts, as their `repr` has them; the same answer on all."""
        # 6 bytes: their sum over 32 workers is exact in float64.
        digest = int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:6], "big")
        return not self.any(self.worker_sum(digest) != digest * self.workers)

    def _over_workers(self, value):
        # One replica of each worker speaks for it.
        speaks = [float(number == 0) for number in range(self.local)]
        return self.run(lambda speaks, value: self.all_reduce(value * speaks), speaks, value)[0]


def _place(strategy) -> tuple[int, int]:
    """(worker, workers): the chief, or where there is none worker 0, comes first."""
    resolver = strategy.cluster_resolver if strategy else None
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    tasks = [(kind, number) for kind in ("chief", "worker") for number in range(len(cluster.get(kind, ())))]
    if len(tasks) < 2:
        return 0, 1
    return tasks.index((resolver.task_type, resolver.task_id)), len(tasks)
