"""A person's own pictures and texts come as training had them; what can't be read is named, and the rest stays."""

import numpy as np
import pytest
from PIL import Image

import data


def save(path, mode="RGB", size=(7, 9), seed=0, **options):
    """A picture of `size` (width, height); options are Pillow's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, [size[1], size[0], 4], np.uint8)
    image = Image.fromarray(values, "RGBA").convert("RGB").convert(mode)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("shape", [(5, 6, 3), (12, 10, 1)])
def test_pictures_are_those_of_an_image_folder_of_the_same_files(tmp_path, shape):
    names = {"a.png": "RGB", "b.PNG": "P", "c.jpg": "L", "d.jpeg": "RGB", "e.gif": "P", "f.bmp": "RGB", "g.png": "1"}
    names |= {"h.png": "RGBA", "i.png": "LA", "j.png": "I;16"}
    for seed, (name, mode) in enumerate(names.items()):
        if mode == "I;16":
            # Sixteen bits.
            values = np.arange(63, dtype=np.uint16).reshape(9, 7) * 999
            Image.fromarray(values).save(tmp_path / "class" / name)
        else:
            save(tmp_path / "class" / name, mode, seed=seed)
    own = data.OwnPictures(tmp_path, shape)
    trained = data.ImageFolder(tmp_path, image_size=shape[:2], channels=shape[2])
    rows = np.arange(len(trained))
    np.testing.assert_array_equal(own[rows]["inputs"], trained[rows]["inputs"])
    assert own.info.input_shape == shape
    assert own[rows]["inputs"].shape == (len(own.items), *shape)
    assert (len(own), own.unreadable) == (len(trained), ())
    assert list(own.items) == [str(tmp_path / "class" / name) for name in sorted(names)]


def test_a_picture_of_the_training_set_is_itself_again(tmp_path):
    source = data.load("fashion_mnist_mini", split="test")
    picture = source[np.array([3])]["inputs"]
    Image.fromarray(picture[0, ..., 0]).save(tmp_path / "no suffix", "PNG")
    own = data.OwnPictures(tmp_path / "no suffix", source.info.input_shape)
    np.testing.assert_array_equal(own[np.array([0])]["inputs"], picture)
    batch = next(iter(data.Pipeline(own, 1, shuffle=False, transform=data.to_float).evaluation()))
    np.testing.assert_allclose(batch["inputs"], picture / np.float32(255))


def test_what_is_no_picture_is_named_and_the_rest_goes_on(tmp_path):
    good = [save(tmp_path / name, seed=seed) for seed, name in enumerate(["b.png", "x/a.png"])]
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(good[0].read_bytes()[:60])
    (tmp_path / "d.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("passed over")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".git" / "a.png")
    own = data.OwnPictures(tmp_path, (4, 4, 3))
    assert own.items == tuple(map(str, good))
    assert own[np.array([1, 0])]["inputs"].shape == (2, 4, 4, 3)
    assert [path for path, _ in own.unreadable] == [str(tmp_path / name) for name in ("a.png", "c.png", "d.jpg")]
    assert (
        own.unreadable[0][1]
        == "byte 0: expected the start of a PNG, JPEG, GIF or BMP file, found 6e 6f 20 70 69 63 74 75"
    )
    assert not any(reason.startswith(path) or "\n" in reason for path, reason in own.unreadable)


@pytest.mark.parametrize(
    ("path", "shape", "error", "message"),
    [
        ("missing.png", (4, 4, 1), FileNotFoundError, "missing.png: no such file or folder"),
        ("empty", (4, 4, 1), ValueError, "empty: expected pictures (.png, .jpg, .jpeg, .gif, .bmp), found none; "),
        ("bad", (4, 4, 1), ValueError, "bad/0.png can't be read (as are 1 more): byte 0: expected the start of a PNG"),
        ("bad", (784,), ValueError, "pictures are (height, width, 1 or 3), but the model takes inputs of shape (784,)"),
        ("bad", (4, 4, 2), ValueError, "pictures are (height, width, 1 or 3), but"),
    ],
)
def test_nothing_to_look_at_is_an_error_that_says_what_to_do(tmp_path, path, shape, error, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    for name in ("0.png", "1.png"):
        (tmp_path / "bad" / name).write_bytes(b"12345678901234")
    with pytest.raises(error) as raised:
        data.OwnPictures(tmp_path / path, shape)
    assert message in str(raised.value)


def test_texts_are_lines_of_files_or_the_text_itself(tmp_path):
    (tmp_path / "b.txt").write_bytes("zwei\r\n\n  \nvier é\n".encode())
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "c.txt").write_bytes(b"ok\n\xff\xfe")
    (tmp_path / "notes.md").write_text("passed over")
    own = data.OwnTexts(tmp_path)
    assert own.items == (f"{tmp_path}/a.txt:1", f"{tmp_path}/b.txt:1", f"{tmp_path}/b.txt:4")
    assert own[np.arange(3)]["inputs"].tolist() == [b"one", b"zwei", "vier é".encode()]
    assert own.unreadable == (
        (f"{tmp_path}/c.txt", "byte 3: not UTF-8 (invalid start byte, found ff fe); convert the file"),
    )
    assert data.OwnTexts(str(tmp_path / "notes.md")).items == (f"{tmp_path}/notes.md:1",)
    said = data.OwnTexts("not a file, but a good film")
    assert said.items == ("not a file, but a good film",)
    assert said[np.array([0])]["inputs"].tolist() == [b"not a file, but a good film"]
    assert len(data.OwnTexts("long " * 5000)) == 1


def test_own_texts_become_token_ids_as_in_training():
    reviews = data.Arrays(np.array([b"good", b"not so good"], object), labels=[1, 0])
    words = data.text.Words.train(data.text.texts_of(reviews))
    own = data.text.tokens(data.OwnTexts("Good, so good"), words, length=5)
    assert own[np.array([0])]["inputs"].tolist() == [words.encode("Good, so good").tolist() + [0]]


def test_nothing_to_read_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    for given, message in (
        (tmp_path / "empty.txt", "expected at least one line with text, found none"),
        ("  ", "expected at least one line with text, found none"),
        (tmp_path / "no.txt", "no such file or folder"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            data.OwnTexts(given)
    (tmp_path / "bad").mkdir()
    with pytest.raises(ValueError, match=r"expected text files \(\.txt\), found none"):
        data.OwnTexts(tmp_path / "bad")
    (tmp_path / "bad" / "a.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"a\.txt can't be read: byte 0: not UTF-8"):
        data.OwnTexts(tmp_path / "bad")
