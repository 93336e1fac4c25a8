"""One process at a time: a lock that dies with its owner."""

import contextlib
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

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Takes the lock, or raises OSError with the name of the process that holds it."""
        while not self.held:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                if not isinstance(error, BlockingIOError):
                    raise OSError(f"{self.path} can't be locked: {error.strerror}") from None
                raise OSError(
                    f"{self.path.parent} is in use by {owner}: wait for it to end, or choose another folder"
                ) from None
            if self._names(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        # For whoever is refused; on a full disk nobody is told.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Lets go of it; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _names(self, descriptor: int) -> bool:
        """Whether the file is still what stands under its name: its owner may have removed it, folder and all."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False
