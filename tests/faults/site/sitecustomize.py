"""Python imports this at its start in a watched process; the engine knows nothing of it.

At SIGUSR1 the stacks of all threads go to a file: that handler is the standard library's, in C, and answers within a
compiled call. At SIGUSR2 Python's clock falls back by a day.
"""

import atexit
import faulthandler
import os
import signal
import time
from pathlib import Path

_clock, _behind = time.time, [0]
time.time = lambda: _clock() - _behind[0]

if path := os.environ.get("FAULTS_STACKS"):
    signal.signal(signal.SIGUSR2, lambda *_: _behind.__setitem__(0, 86400))
    # An interpreter that ends has no stacks to show, and what was there before the handler must not end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    atexit.register(faulthandler.unregister, signal.SIGUSR1)
    # Renamed when all is ready: earlier the signal would end the process.
    aside = Path(path + ".opened")
    faulthandler.register(signal.SIGUSR1, file=aside.open("w"), all_threads=True)
    aside.rename(path)
