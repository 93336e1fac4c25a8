"""A folder of images gives the pictures that Pillow sees, and names every file that it cannot use."""

import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import data
from data import image_headers

MODES = {
    "png": ["L", "LA", "RGB", "RGBA", "P", "1"],
    "jpg": ["L", "RGB"],
    "gif": ["L", "P"],
    "bmp": ["L", "RGB", "RGBA", "P"],
}
FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF", "bmp": "BMP"}


def picture(height=4, width=6, mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, [height, width, 4], np.uint8)
    image = Image.fromarray(coarse, "RGBA")
    return image.convert("RGB").convert("P") if mode == "P" else image.convert(mode)


def encoded(image, suffix, **options):
    out = io.BytesIO()
    image.save(out, FORMATS[suffix], **options)
    return out.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def folder(root, **files):
    """Two classes with a picture each, and `files`: where they stand, by what they hold."""
    write(root / "cat/0.png", encoded(picture(seed=1), "png"))
    write(root / "dog/0.png", encoded(picture(seed=2), "png"))
    for name, content in files.items():
        write(root / name, content)
    return root


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_each_format_and_mode_is_what_pillow_sees(tmp_path, suffix, mode):
    content = encoded(picture(9, 7, mode), suffix)
    write(tmp_path / f"a/0.{suffix}", content)
    rgb, grey = (data.ImageFolder(tmp_path, channels=channels)[np.array([0])]["inputs"][0] for channels in (3, 1))
    seen = Image.open(io.BytesIO(content))
    # TensorFlow and Pillow bring different builds of the same JPEG library.
    tolerance = 3 if suffix == "jpg" else 0
    np.testing.assert_allclose(rgb.astype(int), np.asarray(seen.convert("RGB")).astype(int), atol=tolerance)
    np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(rgb).convert("L")))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b/deep", "b"]),
            st.sampled_from(sorted(FORMATS)),
            st.integers(1, 9),
            st.integers(1, 9),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=10)
def test_examples_stand_in_the_order_of_class_and_path_in_one_size(tmp_path_factory, drawn):
    root = tmp_path_factory.mktemp("images")
    names = [
        (f"{place}/{number}.{suffix}", height, width) for number, (place, suffix, height, width) in enumerate(drawn)
    ]
    for place in ("a", "b"):
        names.append((f"{place}/x.PNG", 3, 5))
    for seed, (name, height, width) in enumerate(names):
        write(root / name, encoded(picture(height, width, seed=seed), name.rpartition(".")[2].lower()))
    write(root / "a/notes.txt", b"no picture")
    write(root / "a/.hidden.png", b"no picture")
    write(root / ".thumbs/0.png", b"no picture")
    source = data.load("image_folder", data_dir=root, image_size=(4, 3))
    assert len(source) == len(names)
    assert source.info.class_names == ("a", "b")
    assert source.info.input_shape == (4, 3, 3)
    rows = source[np.arange(len(names))]
    for row, (name, height, width) in enumerate(sorted(names)):
        decoded = tf.io.decode_image((root / name).read_bytes(), 3, expand_animations=False)
        resized = tf.round(tf.image.resize(decoded, (4, 3), antialias=True)) if (height, width) != (4, 3) else decoded
        np.testing.assert_array_equal(rows["inputs"][row], np.asarray(resized).astype(np.uint8))
        assert rows["labels"][row] == "ab".index(name[0])


def test_a_pipeline_reads_it(tmp_path):
    source = data.load("image_folder", data_dir=folder(tmp_path))
    batch = next(iter(data.Pipeline(source, 2, shuffle=False, transform=data.to_float).evaluation()))
    np.testing.assert_array_equal(batch["inputs"][1], np.asarray(picture(seed=2), np.float32) / 255)
    assert batch["labels"].numpy().tolist() == [0, 1]


def test_splits_are_folders_with_the_same_classes(tmp_path):
    folder(tmp_path / "train"), folder(tmp_path / "test")
    assert len(data.load("image_folder", "test", tmp_path)) == 2
    os.rename(tmp_path / "test/cat", tmp_path / "test/cats")
    with pytest.raises(ValueError, match=r"test: expected the classes cat, dog; 'cat' makes a difference"):
        data.load("image_folder", "test", tmp_path)
    with pytest.raises(ValueError, match=r"train has no folder train, and so no split test"):
        data.load("image_folder", "test", tmp_path / "train")


def png(height, width, content=b"", more=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def huge_gif():
    content = encoded(picture(mode="P"), "gif", save_all=True, append_images=[picture(mode="P", seed=5)])
    second = content.rindex(b",", 0, -10)
    return content[: second + 5] + struct.pack("<HH", 50_000, 50_000) + content[second + 9 :]


PNG = encoded(picture(), "png")
JPEG = encoded(picture(), "jpg")
BAD = {
    "png of 50,000 × 50,000": (png(50_000, 50_000), "PNG of 50000×50000, 2500000000 pixels, expected at most 67108864"),
    "bmp of 50,000 × 50,000": (
        encoded(picture(), "bmp")[:18] + struct.pack("<ii", 50_000, -50_000) + encoded(picture(), "bmp")[26:],
        "BMP of 50000×50000",
    ),
    "jpg of 50,000 × 50,000": (
        JPEG.replace(struct.pack(">HH", 4, 6), struct.pack(">HH", 50_000, 50_000)),
        "JPEG of 50000×50000",
    ),
    "gif with a huge frame": (huge_gif(), "GIF of 4×6, 2500000024 pixels"),
    "empty": (b"", "the file ends inside a header"),
    "text": (b"this is text", "byte 0: expected the start of a PNG, JPEG, GIF or BMP file, found 74 68 69 73"),
    "png cut in its header": (PNG[:20], "byte 20: the file ends inside a header"),
    "jpg cut in its header": (JPEG[:30], "byte 89: the file ends inside a header"),
    "jpg without a frame": (b"\xff\xd8\xff\xd9" + bytes(8), "byte 2: expected a JPEG frame header, found ff d9"),
    "png without height": (png(0, 5), "expected a height and a width of at least 1 pixel, found 0×5"),
    "bmp of 1 bit": (encoded(picture(mode="1"), "bmp"), "expected a BMP of 8, 24 or 32 bits .* found 1 bits"),
    "gif without a frame": (encoded(picture(mode="P"), "gif")[:13] + b";", "the file ends|expected a GIF frame"),
}
# These need decoding to be found out.
BAD_INSIDE = {
    "png cut in its pixels": (PNG[:-20], "Invalid PNG"),
    "png with a wrong checksum": (PNG[:50] + bytes([PNG[50] ^ 1]) + PNG[51:], "Invalid PNG"),
    "jpg cut in its pixels": (JPEG[:-20], "jpeg::Uncompress failed"),
    "gif cut in its pixels": (encoded(picture(mode="P"), "gif")[:-6], "the file ends|Invalid GIF"),
    "bmp one byte short": (encoded(picture(), "bmp")[:-1], "differ by -1"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_a_bad_header_is_fatal_or_skipped_and_named_before_anything_is_decoded(tmp_path, monkeypatch, content, reason):
    def decoded(path, *_):
        raise AssertionError(path)

    folder(tmp_path, **{"cat/bad.png": content})
    line = rf"^{re.escape(str(tmp_path))}/cat/bad.png: [^\n]*({reason})[^\n]*; 1 of 3 files are bad[^\n]*$"
    with monkeypatch.context() as patch:
        patch.setattr(tf.io, "decode_image", decoded)
        with pytest.raises(ValueError, match=line):
            data.ImageFolder(tmp_path)
    with pytest.warns(UserWarning, match=rf"skipped 1 of 3 files: {tmp_path}/cat/bad.png: .*({reason})"):
        source = data.ImageFolder(tmp_path, on_bad_file="skip")
    assert len(source) == 2
    assert [path for path, _ in source.skipped] == [tmp_path / "cat/bad.png"]


@pytest.mark.parametrize(("content", "reason"), BAD_INSIDE.values(), ids=BAD_INSIDE)
def test_bad_pixels_are_named_when_they_are_read_or_skipped_at_the_start(tmp_path, content, reason):
    folder(tmp_path, **{"cat/bad.png": content})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path))}/cat/bad.png: [^\n]*({reason})[^\n]*$"):
        data.ImageFolder(tmp_path)[np.arange(3)]
    with pytest.warns(UserWarning, match=reason):
        source = data.ImageFolder(tmp_path, on_bad_file="skip")
    np.testing.assert_array_equal(source[np.arange(2)]["labels"], [0, 1])


@pytest.mark.parametrize("on_bad_file", ["error", "skip"])
def test_a_picture_that_changes_under_the_source_is_refused(tmp_path, on_bad_file):
    source = data.ImageFolder(folder(tmp_path), on_bad_file=on_bad_file)
    (tmp_path / "dog/0.png").write_bytes(PNG + b"\0")
    with pytest.raises(ValueError, match=r"dog/0.png: the file changed after the run had looked at it"):
        source[np.array([1])]


def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(folder(tmp_path) / "cat/pipe.png")
    with pytest.raises(ValueError, match=r"cat/pipe.png: expected a regular file, found p"):
        data.ImageFolder(tmp_path)


def test_a_palette_shorter_than_its_pixels_is_refused(tmp_path):
    content = bytearray(encoded(picture(mode="L"), "bmp"))
    content[46:50] = struct.pack("<I", 2)
    with pytest.raises(ValueError, match=r"bad.png: a pixel of colour \d+, in a palette of 2"):
        data.ImageFolder(folder(tmp_path, **{"cat/bad.png": bytes(content)}))[np.arange(3)]


def test_the_limit_of_pixels_is_the_caller_s(tmp_path):
    assert len(data.ImageFolder(folder(tmp_path), max_pixels=24)) == 2
    with pytest.raises(ValueError, match=r"PNG of 4×6, 24 pixels, expected at most 23 \(max_pixels\); 2 of 2"):
        data.ImageFolder(tmp_path, max_pixels=23)


@pytest.mark.parametrize("kind", sorted(FORMATS))
@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=5)
def test_a_header_says_the_size_that_was_written(kind, height, width):
    content = encoded(Image.new("RGB", (width, height)), kind)
    assert image_headers.read(io.BytesIO(content)) == (FORMATS[kind], height, width, height * width)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"channels": 4}, "channels must be 1 or 3, found 4"),
        ({"on_bad_file": "ignore"}, "on_bad_file must be error or skip, found 'ignore'"),
        ({"image_size": (3,)}, r"image_size must be \(height, width\), found \(3,\)"),
        ({"image_size": (0, 3)}, r"image_size must be \(height, width\), found \(0, 3\)"),
        ({"class_names": ("cat", "cow")}, "expected the classes cat, cow; 'cow' makes a difference"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason):
        data.ImageFolder(folder(tmp_path), **options)


def test_classes_without_pictures_and_pictures_without_classes_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no directory"):
        data.ImageFolder(tmp_path / "absent")
    write(tmp_path / "0.png", PNG)
    with pytest.raises(ValueError, match=r"expected a folder of images for each class, found none"):
        data.ImageFolder(tmp_path)
    (folder(tmp_path) / "eel").mkdir()
    with pytest.raises(ValueError, match=r"/eel: a class without images \(.png, .*\): fill or remove it"):
        data.ImageFolder(tmp_path)


def test_a_jpeg_that_goes_over_its_pixels_without_end_is_refused_before_decoding(tmp_path, monkeypatch):
    scan = re.search(rb"\xff\xda.*(?=\xff\xd9)", JPEG, flags=re.DOTALL)[0]
    content = JPEG.replace(scan, 65 * scan)
    monkeypatch.setattr(tf.io, "decode_image", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"bad.png: 65 scans over 4×6 pixels, expected fewer"):
        data.ImageFolder(folder(tmp_path, **{"cat/bad.png": content}), max_pixels=24)[np.array([1])]


def test_sizes_that_differ_need_one_to_be_named(tmp_path):
    folder(tmp_path, **{"dog/1.png": encoded(picture(5, 5), "png")})
    with pytest.raises(ValueError, match=r"dog/1.png: 5×5, but .*cat/0.png is 4×6: pass image_size=\(height, width\)"):
        data.ImageFolder(tmp_path)
