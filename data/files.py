"""Reading files that may be anything: regular ones only, and the same to the last byte."""

import contextlib
import os
import pathlib
import re
import stat


@contextlib.contextmanager
def opened(path, mark=None):
    """A seekable binary stream of a regular file that nobody changes meanwhile.

    `mark` is what `mark(path)` once returned: the file must still be the one it was then. Raises ValueError
    naming the file if it is no regular file, or if its size or time of change moved before the block ended.
    """
    # A named pipe without a writer would keep a plain open waiting for ever.
    flags = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags)) as stream:
        before = _mark(os.fstat(stream.fileno()), path)
        if mark is not None:
            _same(path, before, mark)
        yield stream
        if _mark(os.fstat(stream.fileno()), path) != before:
            raise ValueError(f"{path}: the file changed while it was read; leave it alone and start again")


def mark(path):
    """What tells whether a file is still the same: device, number, size in bytes, time of change."""
    return _mark(os.stat(path), path)


def check_mark(path, mark):
    """ValueError if a file is no longer what it was when `mark(path)` returned `mark`."""
    _same(path, _mark(os.stat(path), path), mark)


def size(mark):
    """The size in bytes that a mark holds."""
    return mark[2]


def read(path, most, mark=None):
    """The bytes of a file of at most `most` of them; ValueError naming the file if there are more."""
    with opened(path, mark) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path}: expected at most {most} bytes, found more")
    return content


def read_at(stream, path, offset, view):
    """Fill `view`, a writable buffer of bytes, from `offset` on; ValueError if the file ends before."""
    stream.seek(offset)
    view = memoryview(view)
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise ValueError(f"{path}: expected {len(view)} bytes at byte {offset}, found only {done}")
        done += count


def folder(data_dir, what):
    """`data_dir` as a path; ValueError or FileNotFoundError saying that `what` belongs there."""
    if data_dir is None:
        raise ValueError(f"data_dir must be given: the folder of {what}")
    path = pathlib.Path(data_dir)
    if not path.is_dir():
        raise FileNotFoundError(f"data_dir {path} is no directory; make it, and put {what} into it")
    return path


def check_utf8(content, path, offset=0):
    """ValueError naming file and byte unless `content`, which begins at byte `offset`, is UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(bad_utf8(error, path, offset)) from error


def reason(error):
    """An error's message in one line, without the names of TensorFlow's operations."""
    message = re.sub(
        r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:\w+\]( name: ?)?", " ", getattr(error, "message", None) or str(error)
    )
    return " ".join(message.split())


def bad_utf8(error, path, offset=0):
    """The line for a UnicodeDecodeError of bytes that begin at byte `offset` of the file."""
    found = error.object[error.start : error.start + 4].hex(" ")
    return f"{path}: byte {offset + error.start}: not UTF-8 ({error.reason}, found {found}); convert the file"


def _same(path, found, mark):
    if found != mark:
        raise ValueError(f"{path}: the file changed after the run had looked at it; leave it alone and start again")


def _mark(status, path):
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: expected a regular file, found {stat.filemode(status.st_mode)}")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
