"""Which strategy a run has, from its name and its surroundings; to be asked before TensorFlow has used any device."""

import json
import os
import socket
import threading
import time
from collections.abc import Mapping

import tensorflow as tf

NAMES = ("auto", "one_device", "mirrored", "multi_worker")
_TASKS = ("chief", "worker")


def make_strategy(
    name: str = "auto", num_replicas: int | None = None, *, worker_timeout_s: float = 300.0
) -> tf.distribute.Strategy | None:
    """A strategy by name, or None for one device.

    auto: multi_worker where `TF_CONFIG` or Slurm speak of several tasks; mirrored where there are several GPUs or
        `num_replicas` asks for more than one; else one_device.
    mirrored: `num_replicas` GPUs of this machine, by default all. Where there are none, `num_replicas` logical
        devices on its processor: slower than one, but the same run.
    multi_worker: the cluster of `TF_CONFIG` (JSON: {"cluster": {"worker": ["host:port", …]}, "task": {"type":
        "worker", "index": 0}}), or Slurm's; each task is one process, with all GPUs it sees or its processor.

    Workers wait `worker_timeout_s` seconds for each other to come. ValueError: an unknown name, a `TF_CONFIG` that
    makes no sense, more replicas than GPUs. TimeoutError names the workers that can't be reached.
    """
    if name not in NAMES:
        raise ValueError(f"unknown strategy {name!r}; there are {', '.join(NAMES)}")
    if num_replicas is not None and num_replicas < 1:
        raise ValueError(f"num_replicas must be at least 1, got {num_replicas}")
    resolver = _resolver() if name in ("auto", "multi_worker") else None
    alone = resolver is None and (os.environ.get("TF_CONFIG", "").strip() or os.environ.get("SLURM_STEP_NUM_TASKS"))
    if name == "multi_worker" and alone:
        # A cluster of one, as after scaling down.
        name = "auto"
    if name == "multi_worker" and resolver is None:
        raise ValueError("strategy multi_worker needs TF_CONFIG in the environment, or to be started by Slurm's srun")
    if resolver is not None:
        if num_replicas is not None:
            raise ValueError("num_replicas is for strategy mirrored: workers use every GPU that they see")
        return _multi_worker(resolver, worker_timeout_s)
    gpus = tf.config.list_physical_devices("GPU")
    if name == "one_device" or (name == "auto" and (num_replicas or len(gpus)) <= 1):
        if (num_replicas or 1) > 1:
            raise ValueError(f"strategy one_device has one replica, num_replicas asks for {num_replicas}")
        return None
    if gpus:
        if (num_replicas or 1) > len(gpus):
            raise ValueError(f"num_replicas asks for {num_replicas} replicas, there are {len(gpus)} GPUs")
        return tf.distribute.MirroredStrategy([f"GPU:{n}" for n in range(num_replicas or len(gpus))])
    return _on_processor(num_replicas or 1)


def _on_processor(count: int) -> tf.distribute.Strategy:
    processor = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        # Whoever came first may have made enough of them.
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise ValueError(f"{count} replicas need {count} logical devices, before TensorFlow is used") from error
    # Adding up where the memory is shared beats TensorFlow's ring; and rings of two sizes in one process collide.
    reduce = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(count)], cross_device_ops=reduce)


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """The cluster of this process, if it is a task of several."""
    if os.environ.get("TF_CONFIG", "").strip():
        cluster = check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver() if cluster else None
    return None if os.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1" else _slurm_resolver()


def _slurm_resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    """The cluster of a step of Slurm, one worker a task, each with the GPUs that Slurm shows it.

    TensorFlow's resolver reads Slurm's lists. It is told of GPUs enough, or it would count them with nvidia-smi, fail
    where there are none, and number those anew that Slurm gave. Its order of nodes is not Slurm's (n10 comes before
    n9), so that a task's place is that of its address, and not its number.
    """
    try:
        host, local = os.environ["SLURMD_NODENAME"], int(os.environ["SLURM_LOCALID"])
        # Two jobs on one node should not meet.
        first_port = 20_000 + int(os.environ["SLURM_JOB_ID"]) % 10_000
        enough = {"gpus_per_node": 2**16, "gpus_per_task": 1, "auto_set_gpu": False}
        listed = tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=first_port, **enough)
        cluster = listed.cluster_spec()
        place = cluster.job_tasks("worker").index(f"{host}:{first_port + local}")
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"Slurm's step can't be understood: {error}") from None
    gpus = len(tf.config.list_physical_devices("GPU"))
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=place, num_accelerators={"GPU": gpus}, rpc_layer="grpc"
    )


def check_tf_config(text: str) -> list[str]:
    """The addresses of all workers in `TF_CONFIG`, the chief's first; [] where there is only one.

    >>> check_tf_config('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}')
    ['a:1', 'b:1']
    >>> check_tf_config('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}')
    Traceback (most recent call last):
    ValueError: TF_CONFIG: task index 2 is not one of the cluster's 2 of type worker
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"TF_CONFIG is no JSON: {error}") from None
    cluster = config.get("cluster") if isinstance(config, Mapping) else None
    if cluster is None and isinstance(config, Mapping):
        return []
    if not isinstance(cluster, Mapping) or not set(cluster) & set(_TASKS):
        raise ValueError('TF_CONFIG needs {"cluster": {"worker": ["host:port", …]}, "task": {…}}')
    if set(cluster) - set(_TASKS):
        other = ", ".join(sorted(set(cluster) - set(_TASKS)))
        raise ValueError(f"TF_CONFIG: tasks are chief and worker, the cluster has {other}")
    for kind, addresses in cluster.items():
        if not isinstance(addresses, list) or not all(_is_address(address) for address in addresses):
            raise ValueError(f'TF_CONFIG: the cluster\'s {kind} must be a list of "host:port", got {addresses!r}')
    every = [address for kind in _TASKS for address in cluster.get(kind, ())]
    if len(set(every)) < len(every) or len(cluster.get("chief", ())) > 1:
        raise ValueError(f"TF_CONFIG: each task needs an address of its own, and at most one is chief; got {every}")
    task = config.get("task")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, Mapping) else (None, None)
    if not isinstance(kind, str) or kind not in cluster:
        raise ValueError(f"TF_CONFIG: the task's type must be one of {', '.join(cluster)}, got {kind!r}")
    if not isinstance(index, int | str) or not _is_number(str(index)) or int(index) >= len(cluster[kind]):
        raise ValueError(
            f"TF_CONFIG: task index {index} is not one of the cluster's {len(cluster[kind])} of type {kind}"
        )
    return every if len(every) > 1 else []


def _is_address(address) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and _is_number(port) and 0 < int(port) < 2**16


def _is_number(text: str) -> bool:
    """Whether it is a number of a few digits; ² and ٣ are digits for str.isdigit, and int refuses very many."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _multi_worker(resolver, timeout_s: float) -> tf.distribute.Strategy:
    cluster = resolver.cluster_spec().as_dict()
    addresses = [address for kind in _TASKS for address in cluster.get(kind, ())]
    await_workers(addresses, cluster[resolver.task_type][resolver.task_id], timeout_s)
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def await_workers(addresses: list[str], own: str, timeout_s: float) -> None:
    """Returns when every worker listens at its address; TimeoutError names those that do not.

    TensorFlow itself would wait for ever. Until all are there, this worker answers at its own address.
    """
    host, _, port = own.rpartition(":")
    try:
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        raise ValueError(f"this worker can't listen at its own address {own}: {error.strerror}") from None
    listener.settimeout(0.1)
    done = threading.Event()

    def answer():
        while not done.is_set():
            try:
                listener.accept()[0].close()
            except TimeoutError:
                continue

    thread = threading.Thread(target=answer, name="tapeline-rendezvous", daemon=True)
    thread.start()
    try:
        missing, deadline = [address for address in addresses if address != own], time.monotonic() + timeout_s
        while missing:
            missing = [address for address in missing if not _listens(address)]
            if missing and time.monotonic() > deadline:
                raise TimeoutError(f"no worker answered at {', '.join(missing)} within {timeout_s:g} s")
            time.sleep(0.1 if missing else 0)
    finally:
        done.set()
        thread.join()
        listener.close()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except (OSError, UnicodeError):
        return False
    return True
