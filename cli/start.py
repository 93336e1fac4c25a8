"""The first seconds of the program: its clock, and what happens while it loads."""

import contextlib
import os
import signal
import tempfile
import threading
import time

STARTED = time.perf_counter()
LEFT = "train.py: %s, and no step to be saved: start it again to go on"


@contextlib.contextmanager
def held_stderr():
    """Holds back what native libraries say about themselves while they load; shows it if loading fails."""
    with tempfile.TemporaryFile() as said, contextlib.ExitStack() as stack:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)


@contextlib.contextmanager
def left_on_signals():
    """Ends the process in one line at a signal while what has better means (`engine.signals`) is being loaded."""
    stderr = os.dup(2)

    def leave(number, _):
        os.write(stderr, f"{LEFT % signal.Signals(number).name}\n".encode())
        os._exit(128 + number)

    # Python takes signals in the main thread only.
    taken = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.signal(number, leave) for number in taken}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(stderr)
