"""Rounds: every contender in a process of its own, in turns A B C A B C …; who is not at work is stopped."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine, ratios
from benchmarks.peers import PEERS

FIRST_STEPS = 20


class Failed(RuntimeError):
    """A contender can't do this work."""


class Process:
    """A contender's process. It runs while it is asked, and is stopped by a signal while others are."""

    def __init__(self, peer, work, folder, threads, timeout=300):
        self.timeout, self._errors = timeout, Path(folder, f"{peer}.log")
        command = [sys.executable, "-m", "benchmarks.contender", peer, work, str(Path(folder, "weights.npz"))]
        environment = {**os.environ, **machine.environment(threads)}
        with self._errors.open("w") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self._process = subprocess.Popen(command, env=environment, text=True, bufsize=1, **pipes)
        self.note = self._read()["note"]

    def ask(self, **request):
        """The answer to one request. `Failed` if there is none."""
        self._process.send_signal(signal.SIGCONT)
        # Of one that has died, reading tells.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
        return self._read()

    def _read(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(self.timeout)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            said = f"no answer within {self.timeout} s" if not ready else self._last_error()
            self.close()
            raise Failed(said)
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def _last_error(self):
        self._process.wait()
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"it ended with code {self._process.returncode}"

    def close(self):
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def measure(name, work, peers, *, rounds, seconds, threads, tell):
    """Everything about one work, for `results.json`: rates (examples/s) by round, losses, notes, and what is void.

    peers: their names, ours first, whose losses are the measure of all others. seconds: about how long a turn lasts.
    tell: prints a line. A contender that can't is told of and left out.
    """
    found, running, turns = {peer: {"title": PEERS[peer].title} for peer in peers}, {}, {}

    def begin(peer):
        begun = time.perf_counter()
        running[peer] = process = Process(peer, name, folder, threads)
        own = found[peer]
        own |= {"note": process.note, "rates": []}
        if peer != "floor":
            own["losses"] = process.ask(do="first", steps=FIRST_STEPS)["losses"]
            reference = next(each["losses"] for each in found.values() if "losses" in each)
            own["deviation"] = ratios.deviation(own["losses"], reference)
            own["void"] = ratios.void(own["losses"], reference, work.tolerance)
        own["ready_s"] = round(time.perf_counter() - begun, 1)
        tell(f"  {own['title']} is ready after {own['ready_s']} s{': void: ' + own['void'] if own.get('void') else ''}")

    def set_turn(peer):
        # The first fit may still compile.
        running[peer].ask(do="epochs", count=work.fit_epochs)
        one = running[peer].ask(do="epochs", count=work.fit_epochs)["seconds"]
        turns[peer] = work.fit_epochs * max(1, round(seconds / one))

    def take_turn(peer):
        taken = running[peer].ask(do="epochs", count=turns[peer])["seconds"]
        found[peer]["rates"].append(turns[peer] * work.examples / taken)

    with tempfile.TemporaryDirectory() as folder:
        try:
            for act in (begin, set_turn, *[take_turn] * rounds):
                for peer in peers:
                    if "failed" in found[peer]:
                        continue
                    try:
                        act(peer)
                    except Failed as error:
                        found[peer].pop("rates", None)
                        found[peer]["failed"] = str(error)
                        tell(f"SKIPPED {PEERS[peer].title}: {error}")
        finally:
            for process in running.values():
                process.close()
    return found
