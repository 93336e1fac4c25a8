"""Images in folders, one folder for each class, decoded as they are read."""

import concurrent.futures
import functools
import os
import pathlib
import warnings

import numpy as np

from data import files, image_files
from data.sources import Info

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
ON_BAD_FILE = ("error", "skip")
_WORKERS = min(16, os.cpu_count() or 1)


class ImageFolder:
    """A source of `root/<class>/**/*.{png,jpg,jpeg,gif,bmp}`.

    `inputs` are uint8 `[examples, height, width, channels]`, `labels` int32. Classes are the folders of `root` in the
    order of their names, or `class_names`, which they must then be; examples are in the order of class and path.
    A picture has 3 `channels` (red, green, blue) or 1 (luma, ITU-R BT.601): alpha is dropped, palettes are looked
    up, of 16 bits the high 8 stay, of a GIF the first frame. With `image_size`, (height, width), it is resized
    (bilinear, antialiased); without, all must be of one size. Threads decode in parallel; nothing stays in memory.

    Every file's header is read at the start. A file is refused that is none of these formats, has more than
    `max_pixels` pixels in all its frames, or is no regular file: `on_bad_file="error"` raises ValueError naming file,
    byte and reason. `"skip"` decodes every file once at the start, leaves out those that fail, warns, and lists them
    in `skipped`, pairs (path, reason). A file that goes bad after that is an error in either case. Names that begin
    with a dot and files of other suffixes are passed over; links to folders are followed where they stand for a class.
    Raises ValueError for a class without pictures.
    """

    arrays = None

    def __init__(self, root, image_size=None, channels=3, on_bad_file="error", max_pixels=1 << 26, class_names=None):
        if channels not in (1, 3):
            raise ValueError(f"image_folder: channels must be 1 or 3, found {channels!r}")
        if on_bad_file not in ON_BAD_FILE:
            raise ValueError(f"image_folder: on_bad_file must be {' or '.join(ON_BAD_FILE)}, found {on_bad_file!r}")
        if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
            raise ValueError(f"image_folder: image_size must be (height, width), found {image_size!r}")
        root = files.folder(root, "one folder of images for each class")
        found = classes(root)
        if class_names is not None and found != tuple(class_names):
            odd = sorted(set(found) ^ set(class_names)) or list(found)
            raise ValueError(f"{root}: expected the classes {', '.join(class_names)}; {odd[0]!r} makes a difference")
        self._max_pixels = max_pixels
        self._pool = concurrent.futures.ThreadPoolExecutor(_WORKERS)
        paths, labels = _listed(root, found)
        looks = list(self._pool.map(functools.partial(self._look, decode=on_bad_file == "skip"), paths))
        kept = [row for row, look in enumerate(looks) if not isinstance(look, str)]
        self.skipped = tuple((paths[row], look) for row, look in enumerate(looks) if isinstance(look, str))
        if self.skipped:
            # The reason begins with the path.
            reason, share = self.skipped[0][1], f"{len(self.skipped)} of {len(paths)} files"
            if on_bad_file == "error":
                raise ValueError(f"{reason}; {share} are bad: mend them, or on_bad_file='skip' leaves them out")
            warnings.warn(f"image_folder: skipped {share}: {reason}", stacklevel=2)
        self._paths = [paths[row] for row in kept]
        self._marks = [looks[row][0] for row in kept]
        self.labels = np.array([labels[row] for row in kept], np.int32)
        for label, name in enumerate(found):
            if label not in self.labels:
                raise ValueError(f"{root / name}: a class without images ({', '.join(SUFFIXES)}): fill or remove it")
        self._resize = image_size is not None
        size = tuple(image_size) if self._resize else self._one_size([looks[row][1:] for row in kept])
        self.info = Info("image_folder", len(found), found, (*size, channels))

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, indices):
        images = np.empty([len(indices), *self.info.input_shape], np.uint8)
        for row, image in enumerate(self._pool.map(self._image, np.asarray(indices).tolist())):
            images[row] = image
        return {"inputs": images, "labels": self.labels[indices]}

    def _look(self, path, decode):
        """(mark, height, width) of a file, or in words why it is bad."""
        try:
            look = image_files.look(path, self._max_pixels)
            if decode:
                image_files.pixels(path, look[0], self._max_pixels)
        except (ValueError, OSError) as error:
            return str(error)
        return look

    def _image(self, number):
        height, width, channels = self.info.input_shape
        image = image_files.pixels(self._paths[number], self._marks[number], self._max_pixels)
        if self._resize and image.shape[:2] != (height, width):
            image = image_files.resized(image, (height, width))
        return image_files.luma(image) if channels == 1 else image

    def _one_size(self, sizes):
        for path, (height, width) in zip(self._paths, sizes, strict=True):
            if (height, width) != sizes[0]:
                first = f"{self._paths[0]} is {sizes[0][0]}×{sizes[0][1]}"
                raise ValueError(f"{path}: {height}×{width}, but {first}: pass image_size=(height, width)")
        return sizes[0]


def load(split, data_dir, **options):
    """`data_dir/<split>` if there is a folder `train` (and others beside it), else all of `data_dir` as `train`."""
    root = files.folder(data_dir, "one folder of images for each class, or such folders in train and test")
    if not (root / "train").is_dir():
        if split != "train":
            raise ValueError(f"{root} has no folder train, and so no split {split}: make both, or split what is there")
        return ImageFolder(root, **options)
    return ImageFolder(root / split, **{"class_names": classes(root / "train"), **options})


def classes(root):
    """The names of the folders in `root`, sorted; ValueError if there are none."""
    found = tuple(sorted(path.name for path in pathlib.Path(root).iterdir() if path.is_dir() and path.name[0] != "."))
    if not found:
        raise ValueError(f"{root}: expected a folder of images for each class, found none")
    return found


def _listed(root, names):
    paths, labels = [], []
    for label, name in enumerate(names):
        found = []
        for folder, inner, here in os.walk(root / name):
            inner[:] = [part for part in inner if part[0] != "."]
            found += [pathlib.Path(folder, file) for file in here if _is_image(file)]
        paths += sorted(found, key=lambda path: path.relative_to(root).as_posix())
        labels += [label] * len(found)
    return paths, labels


def _is_image(name):
    return name[0] != "." and name.lower().endswith(SUFFIXES)
