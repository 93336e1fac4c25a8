"""One image file, decoded with suspicion: its header first, its pixels only if they can be meant."""

import os

import numpy as np
import tensorflow as tf

from data import files, image_headers, transforms
from data.values import LUMA

_SCAN = b"\xff\xda"
_SCANS = 64


def look(path, max_pixels):
    """(mark, height, width) from a file's header.

    Raises ValueError naming file, byte and reason for another format, or for more than `max_pixels` pixels in all
    frames together.
    """
    with files.opened(path) as stream:
        try:
            _, height, width = _header(stream, max_pixels)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return files.mark(path), height, width


def pixels(path, mark, max_pixels):
    """The picture as uint8 `[height, width, 3]`, red, green, blue.

    Alpha is dropped, palettes are looked up, of 16 bits the high 8 stay, of a GIF the first frame. Raises ValueError
    naming the file and the reason if it cannot be decoded, or is no longer what `mark` says.
    """
    with files.opened(path, mark) as stream:
        try:
            kind, height, width = _header(stream, max_pixels)
            stream.seek(0)
            content = stream.read()
            # Each scan of a progressive JPEG goes over all its pixels, and can be a few bytes long.
            if kind == image_headers.JPEG and content.count(_SCAN) * height * width > _SCANS * max_pixels:
                raise ValueError(f"{content.count(_SCAN)} scans over {height}×{width} pixels, expected fewer")
            with tf.device("CPU:0"):
                # TensorFlow takes a BMP's palette for shades of grey, and wants to be asked for what is there.
                channels = 0 if kind == image_headers.BMP else 3
                decoded = tf.io.decode_image(content, channels, expand_animations=False).numpy()
            if decoded.shape[:2] != (height, width):
                raise ValueError(f"decoded to {decoded.shape[0]}×{decoded.shape[1]}, expected {height}×{width}")
            if decoded.shape[2] == 1:
                decoded = _looked_up(decoded[..., 0], image_headers.bmp_palette(content))
        except (ValueError, tf.errors.OpError) as error:
            raise ValueError(f"{path}: {files.reason(error)}") from error
    return decoded[..., :3]


def luma(image):
    """Grey values `[height, width, 1]` of `[height, width, 3]`, 0.299·R + 0.587·G + 0.114·B (ITU-R BT.601)."""
    return ((image @ np.array(LUMA, np.uint32) + (1 << 15)) >> 16).astype(np.uint8)[..., np.newaxis]


def resized(image, size):
    """The picture in another (height, width): bilinear, antialiased, rounded to uint8."""
    with tf.device("CPU:0"):
        return transforms.resized(tf.constant(image), size).numpy()


def _header(stream, max_pixels):
    # What so many pixels can need uncompressed, and room for what else a file says.
    most = 8 * max_pixels + (1 << 20)
    if os.fstat(stream.fileno()).st_size > most:
        raise ValueError(f"expected at most {most} bytes for {max_pixels} pixels (max_pixels), found more")
    kind, height, width, count = image_headers.read(stream)
    if count > max_pixels:
        raise ValueError(f"{kind} of {height}×{width}, {count} pixels, expected at most {max_pixels} (max_pixels)")
    return kind, height, width


def _looked_up(indices, palette):
    colours = np.frombuffer(palette[: len(palette) // 4 * 4], np.uint8).reshape(-1, 4)[:, 2::-1]
    if indices.max() >= len(colours):
        raise ValueError(f"a pixel of colour {indices.max()}, in a palette of {len(colours)}")
    return colours[indices]
