"""A contact sheet holds the pictures of the training, each above what becomes of it."""

import re

import numpy as np
import pytest
import tensorflow as tf

import data
from data import preview
from data.draws import Draws


def pictures(count, height=40, width=50, channels=1):
    values = np.random.default_rng(0).integers(0, 256, [count, height, width, channels]).astype(np.uint8)
    return data.Arrays(values, np.arange(count) % 2, info=data.Info("pictures", 2))


def unpacked(sheet, count, columns, rows, scale, height=40, width=50):
    """[rows, count, height, width, c] of a sheet, by where its docstring says that they are."""
    small = sheet[::scale, ::scale]
    np.testing.assert_array_equal(sheet, small.repeat(scale, 0).repeat(scale, 1))
    band = rows * (height + 1) + 6
    return np.stack([
        [
            small[(i // columns) * band + row * (height + 1) :, (i % columns) * (width + 1) :][:height, :width]
            for i in range(count)
        ]
        for row in range(rows)
    ])  # fmt: skip


def test_a_sheet_shows_originals_and_below_them_epoch_after_epoch():
    source, flip = pictures(11), data.augment.flip_left_right()
    cells = unpacked(preview.sheet(source, flip, count=5, columns=3, versions=2, seed=4), 5, 3, 3, scale=2)
    # The first pictures that a training with the seed sees.
    expected = next(iter(data.Pipeline(source, 5).training(4)))["inputs"]
    np.testing.assert_array_equal(cells[0], expected)
    for epoch in range(2):
        flipped = flip({"inputs": expected}, Draws(4, epoch, 0, 5))["inputs"]
        np.testing.assert_array_equal(cells[1 + epoch], flipped)


def test_floats_small_sources_streams_and_other_sizes_are_shown():
    whole = data.Arrays(np.ones([2, 40, 50, 3], np.float32) * 0.4)
    assert np.all(unpacked(preview.sheet(whole, None, 9, 4), 2, 4, 3, scale=2) == 102)
    smaller = data.augment.random_resized_crop(20, 30)
    cells = unpacked(preview.sheet(whole, smaller, 2, 2), 2, 2, 3, scale=2)
    assert np.all(cells[1:, :, :20, :30] == 102)
    assert np.all(cells[1:, :, 20:] == 255)

    class Stream:
        info, arrays, length = whole.info, None, None

        def dataset(self, shard=None):
            return tf.data.Dataset.from_tensor_slices(whole.arrays)

    np.testing.assert_array_equal(preview.sheet(Stream(), None, 2, 2), preview.sheet(whole, None, 2, 2))


def test_the_command_writes_the_sheet_as_a_png(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    line = ["--augment=rotation(15),mixup", f"--out={out}", "--count=3", "--columns=2", "--versions=1", "--seed=2"]
    assert preview.main(line) == 0
    augment = data.augment.parse("rotation(15),mixup", classes=10)
    expected = preview.sheet(data.load("fashion_mnist_mini"), augment, 3, 2, 1, 2)
    np.testing.assert_array_equal(tf.io.decode_png(out.read_bytes()), expected)
    assert f"{out}: {expected.shape[0]}×{expected.shape[1]} pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--dataset=movie_reviews"], r"preview: movie_reviews has inputs of shape \(\), expected"),
        (["--dataset=mnits"], "load: name must be one of"),
        (["--augment=flip"], "augment: augmentations are flip_left_right"),
        (["--count=0"], "--count must be at least 1, found 0"),
        (["--augment=token_dropout(0.1, 1)"], "token_dropout: inputs must be integers"),
        (["--out=/dev/null/sheet.png", "--count=1"], "/dev/null/sheet.png"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert preview.main(arguments) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert re.search(reason, error)
    assert not list(tmp_path.iterdir())
