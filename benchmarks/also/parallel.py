"""What replicas cost on one machine, and what two workers say to each other over the loopback."""

import contextlib
import dataclasses
import json
import socket
import statistics
import threading
import time

from benchmarks.also.children import call, call_all
from benchmarks.ratios import ratio
from benchmarks.works import WORKS, arrays

_BATCH = 256


def _work(name, batch=_BATCH):
    return dataclasses.replace(WORKS[name], batch=batch, batches=8)


def seconds_a_step(name, count, batch, strategy_name, rounds, steps):
    """Seconds a step, round by round, on `count` logical devices or as a worker of TF_CONFIG."""
    import engine
    from benchmarks.peers import ours

    strategy = engine.make_strategy(strategy_name, count)
    work = _work(name, batch)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model, rule = ours.network(work), ours.optimizer(work)
    import data

    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", rule, strategy=strategy)
    pipeline, found = data.Pipeline(data.Arrays(*arrays(work)), work.batch), []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        trainer.fit(pipeline, max_steps=int(trainer.state.step) + steps)
        if number:
            found.append((time.perf_counter() - begun) / steps)
    return {"seconds": found, "parameters": engine.parameter_count(model)}


def replicas(flags, tell):
    """One device against two logical ones of the processor, in turns of fresh processes."""
    found = {}
    for name, steps in (("convnet", 16), ("mlp_32", 200)):
        found[name] = {1: [], 2: []}
        for _ in range(flags.rounds):
            for count in (1, 2):
                # Fresh processes, since logical devices can't be changed; each by its fastest of 3.
                kind = "mirrored" if count > 1 else "one_device"
                told = call(seconds_a_step, name, count, _BATCH, kind, 3, steps, threads=flags.threads)
                found[name][count].append(min(told["seconds"]))
        of = ratio(found[name][2], found[name][1])
        one, two = (1e3 * statistics.median(found[name][count]) for count in (1, 2))
        tell(
            f"{name}, batch {_BATCH}: one device {one:.3g} ms a step, two replicas {two:.3g}, "
            f"{of.median:.2f} ({of.low:.2f} to {of.high:.2f})"
        )
    return found


def workers(flags, tell):
    """Two workers that share a batch, against two processes that train on half of it each and know of no other."""
    rate = loopback_rate()
    tell(f"loopback: {rate / 1e9:.2f} GB/s one way")
    found = {"loopback_bytes_per_s": rate}
    threads = max(1, flags.threads // 2)
    for name, steps in (("convnet", 16), ("mlp_32", 200)):
        alone, together = [], []
        for _ in range(flags.rounds):
            half = (name, None, _BATCH // 2, "one_device", 2, steps)
            told = call_all(seconds_a_step, half, threads=threads, environments=({}, {}))
            alone.append(max(min(each["seconds"]) for each in told))
            whole = (name, None, _BATCH, "multi_worker", 2, steps)
            addresses = free_addresses(2)
            cluster = [{"TF_CONFIG": _tf_config(addresses, index)} for index in (0, 1)]
            told = call_all(seconds_a_step, whole, threads=threads, environments=cluster)
            together.append(max(min(each["seconds"]) for each in told))
        size = 4 * told[0]["parameters"]
        overhead = 1e3 * statistics.median(b - a for a, b in zip(alone, together, strict=True))
        tell(
            f"{name}, batch {_BATCH}: alone {1e3 * statistics.median(alone):.3g} ms, two workers "
            f"{1e3 * statistics.median(together):.3g}; the all-reduce and what goes with it {overhead:.3g} ms, "
            f"{size / 1e6:.2f} MB of gradients each way over the loopback {1e3 * size / rate:.3g}"
        )
        found[name] = {"alone": alone, "together": together, "gradient_bytes": size}
    return found


def free_addresses(count):
    """Addresses of the loopback that nobody uses at the moment."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def _tf_config(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def loopback_rate(size=1 << 20, count=512):
    """Bytes a second from one socket to another on 127.0.0.1, a megabyte at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def receive():
            with server.accept()[0] as taken:
                while taken.recv(size):
                    pass

        thread = threading.Thread(target=receive)
        thread.start()
        block, begun = bytes(size), time.perf_counter()
        with socket.create_connection(server.getsockname()) as sender:
            for _ in range(count):
                sender.sendall(block)
        thread.join()
        return size * count / (time.perf_counter() - begun)
