"""Fetching official files into a cache: resumed after a break, and verified before anyone reads them."""

import contextlib
import dataclasses
import hashlib
import http
import http.client
import os
import pathlib
import shutil
import urllib.error
import urllib.request

from tqdm import tqdm

from data import archives, files

_CHUNK = 1 << 18
_TIMEOUT_S = 30
_ATTEMPTS = 3
_SUMS = {"sha256": "SHA-256", "md5": "MD5"}


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file on the net as it must arrive: its address, its size in bytes, its SHA-256.

    algorithm: of what stands in the place of the SHA-256, where only another sum was published.
    """

    url: str
    size: int
    sha256: str
    algorithm: str = "sha256"

    @property
    def name(self):
        """The last part of the address."""
        return self.url.rpartition("/")[2]


def cache_dir():
    """Where downloads go: `TAPELINE_CACHE`, else `tapeline` in `XDG_CACHE_HOME` or in `~/.cache`."""
    if own := os.environ.get("TAPELINE_CACHE"):
        return pathlib.Path(own)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tapeline"


def cached(name):
    """The folder of data set `name` in the cache, or None: it is there whole or not at all."""
    folder = cache_dir() / name
    return folder if folder.is_dir() else None


def obtain(name, remotes, unpack, instead=None):
    """The folder of data set `name` in the cache, fetched if it is not there.

    All `remotes` are fetched and verified; then `unpack(paths)` says what the folder holds (relative names to
    bytes), and it appears by one rename. Of several processes one fetches and the others wait for it. Raises
    OSError or ValueError in one line that says which file to put where instead, or what `instead` says.
    """
    instead = instead or f"put {' and '.join(remote.name for remote in remotes)} into a folder and pass it as data_dir"
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f"{name}.lock"):
            if not cached(name):
                incoming = cache / f"{name}.incoming"
                incoming.mkdir(exist_ok=True)
                contents = unpack([_fetch(remote, incoming, instead) for remote in remotes])
                archives.publish(cache / name, contents)
                shutil.rmtree(incoming)
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            f"{name}: cannot fill the cache {cache} ({error.strerror}: {error.filename}); {instead}"
        ) from error
    return cache / name


def verify(path, remote):
    """The `files.mark` of a file that has the size and the SHA-256 of `remote`; else ValueError naming it."""
    mark = files.mark(path)
    if files.size(mark) != remote.size:
        raise ValueError(f"{path}: expected {remote.size} bytes, found {files.size(mark)}; fetch {remote.url} again")
    with files.opened(path, mark) as stream:
        digest = hashlib.new(remote.algorithm)
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != remote.sha256:
        raise ValueError(
            f"{path}: expected {_SUMS[remote.algorithm]} {remote.sha256}, found {digest.hexdigest()}; "
            f"fetch {remote.url} again"
        )
    return mark


@contextlib.contextmanager
def _alone(path):
    # Only a download needs it, and a lock of the system's is let go even by a process that is killed.
    import fcntl

    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(remote, folder, instead):
    path, partial = folder / remote.name, folder / f"{remote.name}.partial"
    if path.exists():
        # From an earlier call that did not come to publishing it: as good as nearly fetched, and verified again.
        os.replace(path, partial)
    reason = "the connection broke off"
    for _ in range(_ATTEMPTS):
        before = _length(partial)
        try:
            _continue(remote, partial)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = getattr(error, "reason", None) or error
            if getattr(error, "code", None) == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink()
        # A server that gives nothing more is not asked again.
        if (have := _length(partial)) in (before, remote.size):
            break
    if have < remote.size:
        got = f"got {have} of {remote.size} bytes ({' '.join(str(reason).split())})"
        raise ConnectionError(f"{remote.url}: {got}; try again to go on from there, or {instead}")
    try:
        verify(partial, remote)
    except ValueError as error:
        partial.unlink()
        raise ValueError(f"{error}, or {instead}") from error
    os.rename(partial, path)
    return path


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _continue(remote, partial):
    have = _length(partial)
    if have >= remote.size:
        return
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException(f"asked for bytes from {have}, got {response.headers['Content-Range']}")
        # A server that knows no ranges sends all of it again.
        have = have if resumed else 0
        bar = tqdm(total=remote.size, initial=have, desc=remote.name, unit="B", unit_scale=True, disable=None)
        with open(partial, "ab" if resumed else "wb") as out, bar:
            while have < remote.size and (chunk := response.read(min(_CHUNK, remote.size - have))):
                out.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))


def locate(name, remotes, data_dir, fetch, unpack, holds):
    """The folder that has data set `name`: `data_dir`, else the cache's, which `fetch` fills if need be.

    `data_dir` is taken as it is if it `holds(data_dir)`, or if there is nothing to fetch and so nothing else to
    read: whoever reads it then names what is missing.
    """
    if data_dir is not None and (not fetch or holds(data_dir)):
        return files.folder(data_dir, " and ".join(remote.name for remote in remotes))
    if found := cached(name):
        return found
    if fetch:
        return obtain(name, remotes, unpack)
    raise ValueError(
        f"load: {name} needs data_dir, the folder of {' and '.join(remote.name for remote in remotes)}, "
        "or download=True"
    )
