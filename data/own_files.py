"""A person's own files for a trained model: pictures, and lines of text."""

import concurrent.futures
import os
import pathlib

import numpy as np

from data import files, image_files
from data.image_folder import SUFFIXES
from data.sources import Arrays, Info, texts

_WORKERS = min(16, os.cpu_count() or 1)
_LONGEST_TEXT = 1 << 26


class OwnPictures:
    """A source of the pictures that `path` names, in the form that a model was trained with.

    path: one file, whatever its name, or a folder: all `.png`, `.jpg`, `.jpeg`, `.gif` and `.bmp` below it, in the
        order of their paths; names that begin with a dot are passed over.
    input_shape: (height, width, channels) as in the training set's `info.input_shape`, channels 1 or 3.

    `inputs` are uint8 `[examples, height, width, channels]`, made as `ImageFolder` makes them: alpha is dropped,
    palettes are looked up, of 16 bits the high 8 stay, of a GIF the first frame; resized (bilinear, antialiased); one
    channel is luma (ITU-R BT.601). What training did to uint8 pictures afterwards (`transform`) is to be done again.
    `items` are the files, as strings. Every file is decoded once at the start: those that can't be are left out, and
    listed in `unreadable`, pairs (file, reason).

    FileNotFoundError if there is no such file or folder; ValueError for a folder without pictures, if none can be
    read, and for another input_shape.
    """

    arrays = None

    def __init__(self, path, input_shape, max_pixels=1 << 26):
        shape = tuple(input_shape)
        if len(shape) != 3 or shape[2] not in (1, 3) or min(shape) < 1:
            raise ValueError(f"pictures are (height, width, 1 or 3), but the model takes inputs of shape {shape}")
        self.info = Info("own pictures", input_shape=shape)
        self._max_pixels = max_pixels
        self._pool = concurrent.futures.ThreadPoolExecutor(_WORKERS)
        paths = _found(path, SUFFIXES, "pictures")
        reasons = dict(zip(paths, self._pool.map(self._tried, paths), strict=True))
        self._paths, self.unreadable = _sorted_out(reasons)
        self.items = tuple(map(str, self._paths))

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, indices):
        paths = [self._paths[number] for number in np.asarray(indices).tolist()]
        return {"inputs": np.stack(list(self._pool.map(self._image, paths)))}

    def _tried(self, path):
        """Why a file is no picture, or None."""
        try:
            self._image(path)
        except (ValueError, OSError) as error:
            return _without(path, error)
        return None

    def _image(self, path):
        height, width, channels = self.info.input_shape
        mark, *_ = image_files.look(path, self._max_pixels)
        image = image_files.pixels(path, mark, self._max_pixels)
        if image.shape[:2] != (height, width):
            image = image_files.resized(image, (height, width))
        return image_files.luma(image) if channels == 1 else image


class OwnTexts(Arrays):
    """A source of texts: the lines of the files that `given` names, or `given` itself, which is no file then.

    given: a file, a folder (all `.txt` below it, in the order of their paths), or else a text.

    `inputs` are the UTF-8 bytes of each line that has more than white space; a model takes them as the token ids of its
    own tokenizer (`data.text.tokens`). `items` are "file:line", or the text. Files that can't be read, or are not
    UTF-8, are left out, and listed in `unreadable`, pairs (file, reason).

    ValueError for a folder without such files, if none can be read, and if there is no line with text.
    """

    def __init__(self, given):
        lines, self.unreadable = [(given, given.strip())] if _is_text(given) else [], ()
        if not lines:
            contents, reasons = {}, {}
            for path in _found(given, (".txt",), "text files"):
                try:
                    contents[path], reasons[path] = _decoded(path), None
                except (ValueError, OSError) as error:
                    reasons[path] = _without(path, error)
            paths, self.unreadable = _sorted_out(reasons)
            lines = [(f"{path}:{row}", line) for path in paths for row, line in enumerate(contents[path], 1)]
        lines = [(item, line) for item, line in lines if line.strip()]
        if not lines:
            raise ValueError(f"{str(given) or 'the text'!r}: expected at least one line with text, found none")
        self.items = tuple(item for item, _ in lines)
        super().__init__(texts([line.encode() for _, line in lines]), info=Info("own texts"))


def _is_text(given):
    try:
        return isinstance(given, str) and not pathlib.Path(given).exists()
    except (OSError, ValueError):
        # Too long for a path, or not one.
        return True


def _found(path, suffixes, what):
    path = pathlib.Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        return [path]
    found = []
    for folder, inner, names in os.walk(path):
        # In place: what is taken out is not walked through.
        inner[:] = [part for part in inner if part[0] != "."]
        found += [pathlib.Path(folder, n) for n in names if n[0] != "." and n.lower().endswith(suffixes)]
    if not found:
        raise ValueError(f"{path}: expected {what} ({', '.join(suffixes)}), found none; name a file, or another folder")
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def _sorted_out(reasons):
    """The files that can be read, and pairs (file, reason) of the others."""
    unreadable = tuple((str(path), reason) for path, reason in reasons.items() if reason is not None)
    kept = [path for path, reason in reasons.items() if reason is None]
    if not kept:
        path, reason = unreadable[0]
        more = f" (as are {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise ValueError(f"{path} can't be read{more}: {reason}")
    return kept, unreadable


def _decoded(path):
    content = files.read(path, _LONGEST_TEXT)
    files.check_utf8(content, path)
    return content.decode().splitlines()


def _without(path, error):
    """An error's reason, without the file's name in front."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.removeprefix(f"{path}: ")
