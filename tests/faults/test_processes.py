"""What is seen of a process from outside does not disturb it."""

import sys

from tests.faults.processes import Process

# Threads whose frames come and go, until the interpreter ends beneath them.
BUSY = """
import threading, time
def deeper(n):
    return n and deeper(n - 1)
def busy(until):
    while time.monotonic() < until:
        deeper(500)
        exec("sum(sorted(range(5), key=lambda i: -i))", {})
for _ in range(2):
    threading.Thread(target=busy, args=(float("inf"),), daemon=True).start()
busy(time.monotonic() + 2)
"""


def test_a_process_is_asked_what_it_does_at_every_moment_and_ends_well(tmp_path):
    with Process([sys.executable, "-c", BUSY], tmp_path / "run") as process:
        asked = 0
        while process.running:
            process.doing()
            asked += 1
        assert process.finish() == 0
    assert asked > 20
    stacks = (tmp_path / "run.stacks").read_text()
    assert " in deeper" in stacks
    assert " in <module>" in stacks
