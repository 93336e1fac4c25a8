"""What SIGINT and SIGTERM do: a fit ends at its next step; a program that has nothing to save is left at once.

A Python signal handler waits until the running TensorFlow call returns. The wake-up descriptor does not: the signal
writes its number there at once, and a thread reads it and reacts.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def on_signals(react: Callable[[int], None]) -> Iterator[list[int]]:
    """Within this context the first of `SIGNALS` calls `react(number)`, in a thread; a second ends the process at once.

    Yields the list of signals that came. The innermost context alone reacts. A signal that was ignored before (a
    shell's background job) counts as well: whoever sends it wants the run to end. Outside the main thread, where
    Python takes no signals, it does nothing.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch():
        while number := reader.recv(1)[0]:
            if number not in SIGNALS:
                continue
            if caught:
                os._exit(128 + number)
            caught.append(number)
            react(number)

    # The wake-up descriptor is written to only for signals that have a Python handler.
    handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, name="tapeline-signals", daemon=True)
    thread.start()
    try:
        yield caught
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.send(b"\0")
        thread.join()
        reader.close()
        writer.close()


def stop_on_signals(stop: tf.Variable) -> contextlib.AbstractContextManager[list[int]]:
    """Within this context a signal sets `stop`, which a compiled loop reads before each step."""
    return on_signals(lambda _: stop.assign(True))


@contextlib.contextmanager
def leave_on_signals(told: str) -> Iterator[None]:
    """Within this context a signal ends the process at once, with 128 and its number; `told` is one line for stderr.

    For programs, and for where nothing would be lost: no `finally` runs, and whatever else runs is cut short.
    """
    # Standard error may be held back when the signal comes.
    with os.fdopen(os.dup(2), "wb", buffering=0) as stderr:

        def leave(number):
            with contextlib.suppress(OSError):
                stderr.write(f"{told % signal.Signals(number).name}\n".encode())
            os._exit(128 + number)

        with on_signals(leave):
            yield
