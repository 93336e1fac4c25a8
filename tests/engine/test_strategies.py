"""Which strategy a run has, and how its workers find each other."""

import contextlib
import json
import math
import os
import socket
import threading
import time

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import strategies

TWO = ["127.0.0.1:4001", "127.0.0.1:4002"]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    """A process that belongs to no cluster and sees no GPU, and whose logical devices are as they will stay."""
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    tf.config.list_logical_devices()
    listed = tf.config.list_physical_devices
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [] if kind == "GPU" else listed(kind))


def tf_config(workers, index=0, kind="worker", **cluster):
    return json.dumps({"cluster": {"worker": workers, **cluster}, "task": {"type": kind, "index": index}})


def free_addresses(count):
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


# By name and surroundings.


@pytest.mark.parametrize("arguments", [(), ("auto",), ("auto", 1), ("one_device",), ("one_device", 1)])
def test_one_device_has_no_strategy(arguments):
    assert engine.make_strategy(*arguments) is None


@pytest.mark.parametrize(("arguments", "replicas"), [(("auto", 2), 2), (("mirrored", 3), 3), (("mirrored",), 1)])
def test_a_processor_mirrors_as_many_replicas_as_are_asked_for(arguments, replicas):
    strategy = engine.make_strategy(*arguments)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == replicas
    assert str(engine.Replicas(strategy)) == f"{replicas} replicas"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mirored",), "unknown strategy 'mirored'; there are auto, one_device, mirrored, multi_worker"),
        (("auto", 0), "num_replicas must be at least 1, got 0"),
        (("one_device", 2), "strategy one_device has one replica, num_replicas asks for 2"),
        (("mirrored", 99), "99 replicas need 99 logical devices, before TensorFlow is used"),
        (("multi_worker",), "strategy multi_worker needs TF_CONFIG in the environment, or .* srun"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        engine.make_strategy(*arguments)


@pytest.mark.parametrize(
    ("arguments", "devices"),
    [
        (("auto",), ["GPU:0", "GPU:1"]),
        (("auto", 1), None),
        (("one_device",), None),
        (("mirrored",), ["GPU:0", "GPU:1"]),
        (("mirrored", 1), ["GPU:0"]),
    ],
)
def test_where_there_are_gpus_replicas_are_on_them(monkeypatch, arguments, devices):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: devices)
    assert engine.make_strategy(*arguments) == devices
    with pytest.raises(ValueError, match="num_replicas asks for 3 replicas, there are 2 GPUs"):
        engine.make_strategy("mirrored", 3)


@pytest.mark.parametrize("name", ["auto", "multi_worker"])
@pytest.mark.parametrize("chief", [False, True])
def test_a_cluster_of_several_is_found_and_its_absent_workers_are_named(monkeypatch, name, chief):
    own, *others = free_addresses(3)
    config = tf_config(others, kind="chief", chief=[own]) if chief else tf_config([own, *others])
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(TimeoutError, match=f"^no worker answered at {', '.join(others)} within 0 s$"):
        engine.make_strategy(name, worker_timeout_s=0)


@pytest.mark.parametrize("name", ["one_device", "mirrored"])
def test_a_cluster_is_left_alone_by_whoever_asks_for_this_machine(monkeypatch, name):
    monkeypatch.setenv("TF_CONFIG", tf_config(TWO))
    replicas = engine.Replicas(engine.make_strategy(name))
    assert (replicas.worker, replicas.workers, replicas.chief) == (0, 1, True)


@pytest.mark.parametrize("config", ["{}", '{"task": {"type": "worker", "index": 0}}', tf_config(TWO[:1])])
def test_a_cluster_of_one_is_this_machine(monkeypatch, config):
    """A job that is scaled down to one task goes on."""
    monkeypatch.setenv("TF_CONFIG", config)
    assert engine.make_strategy("auto") is None
    assert engine.make_strategy("multi_worker") is None


@pytest.mark.parametrize("config", ["", " "])
def test_without_a_cluster_there_are_no_workers(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    assert engine.make_strategy("auto") is None
    with pytest.raises(ValueError, match="multi_worker needs TF_CONFIG"):
        engine.make_strategy("multi_worker")


def test_workers_are_not_to_be_counted_by_num_replicas(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(TWO))
    with pytest.raises(ValueError, match=r"^num_replicas is for strategy mirrored"):
        engine.make_strategy("auto", 2)


# TF_CONFIG.


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG is no JSON"),
        ("[" * 100_000, "TF_CONFIG is no JSON"),
        ("[]", "TF_CONFIG needs"),
        ('{"cluster": {}}', "TF_CONFIG needs"),
        ('{"cluster": [1]}', "TF_CONFIG needs"),
        (tf_config(TWO, ps=["a:1"]), "tasks are chief and worker, the cluster has ps"),
        (tf_config("a:1"), "the cluster's worker must be a list of \"host:port\", got 'a:1'"),
        (tf_config(["a", "b:1"]), '"host:port"'),
        (tf_config(["a:0", "b:1"]), '"host:port"'),
        (tf_config(["a:65536", "b:1"]), '"host:port"'),
        (tf_config(["a:²", "b:1"]), '"host:port"'),
        (tf_config(["a:٣", "b:1"]), '"host:port"'),
        (tf_config([":1", "b:1"]), '"host:port"'),
        (tf_config([None, "b:1"]), '"host:port"'),
        (tf_config(["a:1", "a:1"]), "an address of its own"),
        (tf_config(TWO, chief=TWO[:1]), "an address of its own"),
        (tf_config(TWO, chief=["a:1", "b:1"]), "at most one is chief"),
        (tf_config(TWO, kind="chief"), "the task's type must be one of worker, got 'chief'"),
        (tf_config(TWO, kind=["worker"]), "the task's type must be one of worker"),
        (tf_config(TWO, kind={}), "the task's type must be one of worker"),
        (tf_config(TWO, index=2), "task index 2 is not one of the cluster's 2 of type worker"),
        (tf_config(TWO, index=-1), "task index -1 is not"),
        (tf_config(TWO, index=1.0), "task index 1.0 is not"),
        (tf_config(TWO, index=True), "task index True is not"),
        (tf_config(TWO, index="²"), "task index ² is not"),
        (tf_config(TWO, index="9" * 5000), "task index 9+ is not"),
        (tf_config(TWO, index=None), "task index None is not"),
        (json.dumps({"cluster": {"worker": TWO}}), "the task's type"),
        (json.dumps({"cluster": {"worker": TWO}, "task": 0}), "the task's type"),
    ],
)
def test_a_malformed_tf_config_is_named(config, message):
    with pytest.raises(ValueError, match=f"(?s)^(?=TF_CONFIG).*{message}"):
        strategies.check_tf_config(config)


LEAVES = st.sampled_from([None, True, -1, 0, 1, 2**70, 0.5, math.nan, "", "a:1", "b:²", "9" * 5000]) | st.text()
JUNK = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2), max_leaves=4
)


@st.composite
def configs(draw):
    """A good TF_CONFIG, but for one place in it, which may hold anything."""
    config = {"cluster": {"worker": [*TWO], "chief": ["c:1"]}, "task": {"type": "worker", "index": 1}}
    places = [(config, "cluster"), (config, "task"), (config["cluster"]["worker"], 1)]
    places += [(config[part], name) for part in ("cluster", "task") for name in (*config[part], draw(st.text()))]
    holder, name = draw(st.sampled_from(places))
    holder[name] = draw(JUNK)
    return config


@settings(max_examples=300)
@given(st.one_of(configs().map(json.dumps), JUNK.map(json.dumps), st.text()))
def test_whatever_tf_config_says_it_is_addresses_or_an_error_that_names_it(text):
    try:
        found = strategies.check_tf_config(text)
    except ValueError as error:
        assert str(error).startswith("TF_CONFIG")  # noqa: PT017 - either is right, nothing else is
    else:
        assert isinstance(found, list)
        assert len(found) != 1
        assert all(isinstance(address, str) for address in found)


# Slurm.


NODES = {
    # Slurm's list of nodes, tasks per node: the node of each task, and its number there.
    "two nodes": ("node[1-2]", "1(x2)", [("node1", 0), ("node2", 0)]),
    "one node": ("alpha", "3", [("alpha", 0), ("alpha", 1), ("alpha", 2)]),
    "uneven": ("a,b", "2,1", [("a", 0), ("a", 1), ("b", 0)]),
    "numbered": ("n[9-10]", "1(x2)", [("n9", 0), ("n10", 0)]),
    "cyclic": ("a,b", "2(x2)", [("a", 0), ("b", 0), ("a", 1), ("b", 1)]),
}


def be_task(monkeypatch, nodes, tasks_per_node, tasks, rank):
    host, local = tasks[rank]
    for name, value in {
        "SLURM_JOB_ID": "17",
        "SLURM_STEP_NUM_TASKS": str(len(tasks)),
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks_per_node,
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(local),
        "SLURM_NODEID": str(list(dict.fromkeys(host for host, _ in tasks)).index(host)),
        "SLURMD_NODENAME": host,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("gpus", [None, "", "0", "2,3", "0,1,2,3"])
@pytest.mark.parametrize("nodes", NODES)
def test_slurm_gives_each_task_an_address_of_its_own_on_its_node_and_the_gpus_stay(monkeypatch, nodes, gpus):
    """Whatever GPUs Slurm shows a task, among them none."""
    clusters, own = [], []
    for rank, (host, _) in enumerate(NODES[nodes][2]):
        be_task(monkeypatch, *NODES[nodes], rank)
        if gpus is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        resolver = strategies._resolver()
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == gpus
        clusters.append(resolver.cluster_spec().as_dict())
        own.append(clusters[-1]["worker"][resolver.task_id])
        assert resolver.task_type == "worker"
        assert own[-1].rpartition(":")[0] == host
    assert all(cluster == clusters[0] for cluster in clusters)
    assert sorted(own) == sorted(clusters[0]["worker"])
    assert len(set(own)) == len(own)


@pytest.mark.parametrize("name", ["auto", "multi_worker"])
def test_the_tasks_of_slurm_are_workers(monkeypatch, name):
    be_task(monkeypatch, "127.0.0.1", "2", [("127.0.0.1", 0), ("127.0.0.1", 1)], 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cluster = strategies._resolver().cluster_spec().as_dict()["worker"]
    with pytest.raises(TimeoutError, match=f"^no worker answered at {cluster[0]} within 0 s$"):
        engine.make_strategy(name, worker_timeout_s=0)


def test_a_single_task_of_slurm_is_one_device(monkeypatch):
    be_task(monkeypatch, "node1", "1", [("node1", 0)], 0)
    assert engine.make_strategy("auto") is None
    assert engine.make_strategy("multi_worker") is None


def test_tf_config_wins_over_slurm(monkeypatch):
    be_task(monkeypatch, *NODES["two nodes"], 0)
    monkeypatch.setenv("TF_CONFIG", tf_config(TWO[:1]))
    assert engine.make_strategy("auto") is None


def test_slurm_that_says_only_half_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    for name in ("SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"^Slurm[^\n]*SLURM"):
        engine.make_strategy("auto")


# Waiting for each other.


def test_workers_that_come_one_after_the_other_meet():
    addresses, all_met, errors = free_addresses(3), threading.Barrier(3), []

    def worker(number):
        time.sleep(0.2 * number)
        try:
            strategies.await_workers(addresses, addresses[number], 30)
            # As TensorFlow's own server does from here on.
            host, _, port = addresses[number].rpartition(":")
            with socket.create_server((host, int(port))):
                all_met.wait(30)
        except Exception as error:
            errors.append(error)
            all_met.abort()

    threads = [threading.Thread(target=worker, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors


def test_only_those_that_did_not_come_are_named():
    own, there, absent, unknown = [*free_addresses(3), "nowhere.invalid:1"]
    port = int(there.rpartition(":")[2])
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(TimeoutError, match=f"^no worker answered at {absent}, {unknown} within 0.2 s$"),
    ):
        strategies.await_workers([own, there, absent, unknown], own, 0.2)


def test_an_address_that_is_not_this_workers_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"^this worker can't listen at its own address {taken}: .*in use"):
            strategies.await_workers([taken], taken, 0)
    with pytest.raises(ValueError, match=r"own address nowhere\.invalid:1"):
        strategies.await_workers(["nowhere.invalid:1"], "nowhere.invalid:1", 0)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs a machine that speaks IPv6")
def test_addresses_may_be_of_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
    strategies.await_workers([f"[::1]:{port}"], f"[::1]:{port}", 0)
