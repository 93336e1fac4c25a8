"""One process at a time: a lock that dies with its owner."""

import fcntl
import os
import socket
from pathlib import Path


class Lock:
    """An exclusive lock on a folder, held by the file `.lock` in it until `release` or the end of the process.

    The kernel lets go of it when its owner ends, however that may be: no lock is ever left behind. On a network
    file system it is as good as that system's `flock`.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / ".lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock, or raises OSError with the name of the process that holds it."""
        if self._descriptor is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise OSError(
                f"{self.path.parent} is in use by {owner}: wait for it to end, or choose another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets go of it; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
