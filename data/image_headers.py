"""What a PNG, JPEG, GIF or BMP file says about its size, read without decoding a pixel."""

import struct

PNG, JPEG, GIF, BMP = "PNG", "JPEG", "GIF", "BMP"
# Start-of-frame markers; C4, C8 and CC in between are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset([0x01, *range(0xD0, 0xD8)])


def read(stream):
    """(format, height, width, pixels) of an image file open at its beginning.

    `pixels` counts those of all frames, since a decoder of GIF holds every frame at once. Raises ValueError with the
    offset and the reason, without the file's name.
    """
    start = _take(stream, 8)
    stream.seek(0)
    if start == b"\x89PNG\r\n\x1a\n":
        return PNG, *_png(stream)
    if start[:3] == b"\xff\xd8\xff":
        return JPEG, *_jpeg(stream)
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return GIF, *_gif(stream)
    if start[:2] == b"BM":
        return BMP, *_bmp(stream)
    raise ValueError(f"byte 0: expected the start of a PNG, JPEG, GIF or BMP file, found {start.hex(' ')}")


def bmp_palette(content):
    """The palette of an 8-bit BMP file, uint8 values `colours × (blue, green, red, 0)` as bytes, else None."""
    header_size, bits = struct.unpack_from("<I", content, 14)[0], struct.unpack_from("<H", content, 28)[0]
    if bits != 8:
        return None
    (used,) = struct.unpack_from("<I", content, 46)
    start = 14 + header_size
    return content[start : start + 4 * (used or 256)]


def _png(stream):
    header = _take(stream, 24)
    if header[8:16] != b"\0\0\0\rIHDR":
        raise ValueError(f"byte 8: expected the PNG chunk IHDR, found {header[8:16].hex(' ')}")
    width, height = struct.unpack(">II", header[16:])
    return _sized(height, width, 16)


def _jpeg(stream):
    _take(stream, 2)
    while True:
        at = stream.tell()
        marker = _take(stream, 2)
        while marker == b"\xff\xff":
            marker = marker[1:] + _take(stream, 1)
        if marker[0] != 0xFF or marker[1] in (0x00, 0xD9, 0xDA):
            raise ValueError(f"byte {at}: expected a JPEG frame header, found {marker.hex(' ')}")
        if marker[1] in _STANDALONE:
            continue
        (length,) = struct.unpack(">H", _take(stream, 2))
        if marker[1] in _FRAMES:
            _, height, width = struct.unpack(">BHH", _take(stream, 5))
            return _sized(height, width, at)
        stream.seek(max(length - 2, 0), 1)


def _gif(stream):
    width, height, flags = struct.unpack("<6xHHB2x", _take(stream, 13))
    _take(stream, _colours(flags))
    pixels = 0
    while (kind := stream.read(1)) == b"!":
        _take(stream, 1)
        _skip_blocks(stream)
    if kind != b",":
        raise ValueError(f"byte {stream.tell() - 1}: expected a GIF frame, found {kind.hex() or 'nothing'}")
    while kind in (b",", b"!"):
        if kind == b",":
            frame_width, frame_height, flags = struct.unpack("<4xHHB", _take(stream, 9))
            pixels += frame_width * frame_height
            _take(stream, _colours(flags))
        _take(stream, 1)
        _skip_blocks(stream)
        kind = stream.read(1)
    height, width, _ = _sized(height, width, 6)
    return height, width, max(pixels, height * width)


def _colours(flags):
    return 3 * 2 ** (1 + (flags & 7)) if flags & 0x80 else 0


def _skip_blocks(stream):
    while size := _take(stream, 1)[0]:
        _take(stream, size)


def _bmp(stream):
    header = _take(stream, 54)
    header_size, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", header, 14)
    if header_size < 40:
        raise ValueError(f"byte 14: expected a BMP header of at least 40 bytes, found {header_size}")
    if bits not in (8, 24, 32) or compression not in (0, 3):
        raise ValueError(
            f"byte 28: expected a BMP of 8, 24 or 32 bits a pixel without compression, found {bits} bits, "
            f"compression {compression}"
        )
    # A negative height stands for rows from top to bottom.
    return _sized(abs(height), width, 18)


def _sized(height, width, at):
    if height < 1 or width < 1:
        raise ValueError(f"byte {at}: expected a height and a width of at least 1 pixel, found {height}×{width}")
    return height, width, height * width


def _take(stream, size):
    content = stream.read(size)
    if len(content) < size:
        raise ValueError(f"byte {stream.tell()}: the file ends inside a header")
    return content
