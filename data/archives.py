"""Reading expected members of a .tar.gz, believing nothing that it says.

A tar is a row of 512-byte headers, each followed by its member's bytes, padded to 512; a block of zeros ends it
(POSIX.1-1988, ustar). It is read front to back into memory: no name of a member ever becomes a path on its word.
"""

import gzip
import os
import pathlib
import re
import shutil
import tempfile
import zlib

from data import files

_BLOCK = 512
_CHUNK = 1 << 20
_REGULAR = (b"0", b"\0")
_DIRECTORY = b"5"
# Long names and extended attributes, of POSIX and of GNU: no member that is expected needs them.
_ABOUT_THE_NEXT = (b"x", b"g", b"L", b"K")
_REFUSED = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device", b"4": "a block device",
    b"6": "a named pipe", b"7": "a contiguous file",
}  # fmt: skip


def members(path, wanted, max_bytes, mark=None):
    """The regular files of a .tar.gz whose names `wanted(name)` accepts: a dict from name to bytes.

    The archive is read to its end, so that gzip's checksum is verified before anything is returned. It may expand to
    at most `max_bytes` in all, and must still be what `mark` says, if that is given. Raises ValueError naming archive,
    offset in the expanded bytes, and member, for a name that is absolute or leads upwards, a link, a device, a wrong
    checksum, a name that comes twice, an expansion without bound, a truncated or corrupted file.
    """
    found = {}
    try:
        with files.opened(path, mark) as stream, gzip.GzipFile(fileobj=stream) as plain:
            tar = _Bounded(plain, path, max_bytes)
            while header := _header(tar):
                name, size, kind, at = header
                if kind in _REGULAR and wanted(name):
                    if name in found:
                        raise ValueError(f"{path}: byte {at}: member {name!r} comes twice")
                    found[name] = tar.take(size)
                else:
                    tar.skip(size)
                tar.skip(-size % _BLOCK)
            tar.finish()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: truncated or corrupted gzip ({error}); fetch the file again") from error
    return found


def publish(folder, contents):
    """Make `folder` with the files of `contents`, relative names to bytes, whole or not at all.

    The names are the caller's own, not an archive's. If the folder is there already, it stays.
    """
    folder = pathlib.Path(folder)
    made = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in contents.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(content)
        made.chmod(0o755)
        if not folder.exists():
            os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


class _Bounded:
    """The expanded bytes, counted."""

    def __init__(self, stream, path, max_bytes):
        self._stream, self._path, self._most = stream, path, max_bytes
        self.at = 0

    def take(self, size):
        if size > self._most - self.at:
            raise ValueError(
                f"{self._path}: byte {self.at}: expands beyond {self._most} bytes, more than the archive may hold"
            )
        content = self._stream.read(size)
        if len(content) < size:
            raise ValueError(
                f"{self._path}: byte {self.at}: expected {size} bytes, found only {len(content)}; fetch the file again"
            )
        self.at += size
        return content

    def skip(self, size):
        while size:
            size -= len(self.take(min(size, _CHUNK)))

    def finish(self):
        # What follows the end is padding; reading it makes gzip verify its checksum.
        while chunk := self._stream.read(_CHUNK):
            self.at += len(chunk)
            if self.at > self._most:
                self.take(1)

    def refuse(self, at, reason):
        raise ValueError(f"{self._path}: byte {at}: {reason}; fetch the archive from its official place")


def _header(tar):
    """(name, size, kind, offset) of the next member, None at the end of the archive."""
    at = tar.at
    block = tar.take(_BLOCK)
    if not any(block):
        return None
    if _octal(block[148:156]) != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
        tar.refuse(at, "a tar header with a wrong checksum")
    name = block[:100].rstrip(b"\0")
    if block[257:262] == b"ustar" and block[345] and block[262:263] == b"\0":
        name = block[345:500].rstrip(b"\0") + b"/" + name
    name = name.decode("utf-8", "backslashreplace")
    size, kind = _octal(block[124:136]), block[156:157]
    if size is None:
        tar.refuse(at, f"member {name!r} has no legible size")
    if name.startswith("/") or ".." in re.split(r"[/\\]", name) or "\0" in name:
        tar.refuse(at, f"member {name!r} leads out of the archive")
    if kind not in (*_REGULAR, _DIRECTORY, *_ABOUT_THE_NEXT):
        tar.refuse(at, f"member {name!r} is {_REFUSED.get(kind, f'of unknown type {kind!r}')}, expected a file")
    return name.removeprefix("./"), size, kind, at


def _octal(field):
    match = re.fullmatch(rb" *([0-7]+)[ \0]*", field)
    return int(match[1], 8) if match else None
