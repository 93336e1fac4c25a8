"""Python imports this at its start in a watched process; the engine knows nothing of it.

At SIGUSR1 the stacks of all threads go to a file. A thread of its own waits for the signal and follows the frames,
which it holds, as any code of Python may: it answers within a compiled call, and an interpreter that ends answers no
more. (The handler of `faulthandler` walks frames that other threads are changing, which ends the process now and then.)
At SIGUSR2 Python's clock falls back by a day.
"""

import os
import signal
import sys
import threading
import time

_clock, _behind = time.time, [0]
time.time = lambda: _clock() - _behind[0]


def _frames(frame):
    while frame is not None:
        yield f'File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n'
        frame = frame.f_back


def _answer(file: int) -> None:
    while True:
        signal.sigwait({signal.SIGUSR1})
        os.write(file, "".join(line for frame in sys._current_frames().values() for line in _frames(frame)).encode())


if path := os.environ.get("FAULTS_STACKS"):
    signal.signal(signal.SIGUSR2, lambda *_: _behind.__setitem__(0, 86400))
    # Every thread is begun with the signal blocked, so that it waits for the one that asks for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    # Renamed when all is ready: earlier the signal would end the process.
    _file = os.open(path + ".opened", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    threading.Thread(target=_answer, args=(_file,), daemon=True).start()
    os.rename(path + ".opened", path)
