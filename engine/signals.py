"""SIGINT and SIGTERM end a compiled loop at its next step.

A Python signal handler waits until the running TensorFlow call returns. The wake-up descriptor does not: the signal
writes its number there at once, a thread reads it and sets the variable that the loop's condition looks at.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def stop_on_signals(stop: tf.Variable, signals=(signal.SIGINT, signal.SIGTERM)) -> Iterator[list[int]]:
    """Within this context the first of `signals` sets `stop`; a second one ends the process at once.

    Yields the list of signals that came. A signal that was ignored before (a shell's background job) counts as well:
    whoever sends it wants the run to end. Outside the main thread, where Python takes no signals, it does nothing.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch():
        while number := reader.recv(1)[0]:
            if number not in signals:
                continue
            if caught:
                os._exit(128 + number)
            caught.append(number)
            stop.assign(True)

    # The wake-up descriptor is written to only for signals that have a Python handler.
    handlers = {number: signal.signal(number, lambda *_: None) for number in signals}
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
