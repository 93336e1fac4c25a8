"""Text files give the lines and windows that Python's own reading of them gives."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data
from data import text_files

texts = st.text(st.sampled_from("ab é€😀\r\n\t"), max_size=40)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(text_files, "_CHUNK", 5)


def write(folder, *contents):
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.txt")
        paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
    return paths


def lines_of(text):
    """What TextLines promises, by splitting in memory."""
    parts = text.encode().split(b"\n")
    parts = [part.removesuffix(b"\r") for part in parts]
    return [part for part in parts if part]


@given(st.lists(texts, min_size=1, max_size=3), st.integers(1, 9), st.data())
def test_lines_are_those_of_the_files_in_their_order(tmp_path_factory, contents, chunk, draw):
    paths = write(tmp_path_factory.mktemp("lines"), *contents)
    expected = [line for content in contents for line in lines_of(content)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "_CHUNK", chunk)
        if not expected:
            with pytest.raises(ValueError, match=r"expected at least one line with text, found none"):
                data.TextLines(paths)
            return
        source = data.TextLines(paths)
    indices = draw.draw(st.lists(st.integers(0, len(expected) - 1)))
    assert len(source) == len(expected)
    assert source[np.array(indices, np.int64)]["inputs"].tolist() == [expected[index] for index in indices]


@given(
    st.lists(texts, min_size=1, max_size=3),
    st.integers(1, 7),
    st.one_of(st.none(), st.integers(1, 9)),
    st.integers(1, 9),
)
def test_windows_are_slices_of_the_text_and_of_the_text_one_further(tmp_path_factory, contents, window, step, chunk):
    paths = write(tmp_path_factory.mktemp("chars"), *contents)
    expected = [
        text[begin : begin + window + 1] for text in contents for begin in range(0, len(text) - window, step or window)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "_CHUNK", chunk)
        if not expected:
            with pytest.raises(ValueError, match=rf"a file of at least {window + 1} characters, found at most \d+$"):
                data.CharText(paths, window, step)
            return
        source = data.CharText(paths, window, step)
    names = source.info.class_names
    assert names == (text_files.UNKNOWN, *sorted(set("".join(contents))))
    rows = source[np.arange(len(source))[::-1]]
    assert (rows["inputs"].shape, rows["inputs"].dtype) == ((len(expected), window), np.int32)
    for inputs, labels, text in zip(rows["inputs"], rows["labels"], reversed(expected), strict=True):
        assert "".join(names[number] for number in inputs) == text[:-1]
        assert "".join(names[number] for number in labels) == text[1:]


def test_no_character_is_predicted_twice_and_only_the_tail_never(tmp_path):
    source = data.CharText(write(tmp_path, "".join(map(chr, range(33, 100)))), window=10)
    labels = source[np.arange(len(source))]["labels"].ravel()
    np.testing.assert_array_equal(np.sort(labels), np.arange(2, 62))


def test_the_vocabulary_is_that_of_the_training_text(tmp_path):
    (tmp_path / "train.txt").write_text("abcabc", encoding="utf-8")
    (tmp_path / "test.txt").write_text("cxa!", encoding="utf-8")
    train, test = (data.load("char_text", split, tmp_path, window=3) for split in ("train", "test"))
    assert train.info.class_names == test.info.class_names == (text_files.UNKNOWN, "a", "b", "c")
    assert test[np.array([0])]["inputs"].tolist() == [[3, 0, 1]]
    assert test[np.array([0])]["labels"].tolist() == [[0, 1, 0]]


def test_a_split_is_a_file_or_a_folder_of_files(tmp_path):
    (tmp_path / "train/b").mkdir(parents=True)
    (tmp_path / "train/c.txt").write_text("three\n", encoding="utf-8")
    (tmp_path / "train/b/a.txt").write_text("one\ntwo", encoding="utf-8")
    source = data.load("text_lines", data_dir=tmp_path)
    assert source[np.arange(3)]["inputs"].tolist() == [b"one", b"two", b"three"]
    with pytest.raises(FileNotFoundError, match=r"has neither test.txt nor test/\*.txt; put one there"):
        data.load("text_lines", "test", tmp_path)


def test_a_pipeline_reads_lines_as_strings(tmp_path):
    source = data.TextLines(write(tmp_path, "un\ndeux é\n"))
    batch = next(iter(data.Pipeline(source, 2, shuffle=False).evaluation()))
    assert batch["inputs"].numpy().tolist() == [b"un", "deux é".encode()]


@pytest.mark.parametrize("kind", [data.TextLines, data.CharText])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"abc\xe9\nd", r"byte 3: not UTF-8 \(invalid continuation byte, found e9 0a"),
        (b"abcdefg\xff", r"byte 7: not UTF-8 \(invalid start byte, found ff\)"),
        (b"abcd\xe2\x82", r"byte 4: not UTF-8 \(unexpected end of data, found e2 82\)"),
        (b"abcd\xed\xa0\x80", r"byte 4: not UTF-8"),
    ],
)
def test_what_is_not_utf8_is_named_with_its_byte(tmp_path, small_chunks, kind, content, reason):
    paths = write(tmp_path, "fine", content)
    with pytest.raises(ValueError, match=rf"1.txt: {reason}[^\n]*; convert the file$"):
        kind(paths)


def test_a_line_without_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"0.txt: byte 3: expected a line of at most 1048576 bytes; break it"):
        data.TextLines(write(tmp_path, b"ab\n" + b"x" * (2**20 + 1)))
    assert len(data.TextLines(write(tmp_path, b"ab\n" + b"x" * 2**20))) == 2


def test_a_file_that_changes_under_the_source_is_refused(tmp_path):
    paths = write(tmp_path, "one\ntwo\n", "three\n")
    source = data.TextLines(paths)
    os.truncate(paths[0], 5)
    assert source[np.array([2])]["inputs"].tolist() == [b"three"]
    with pytest.raises(ValueError, match=r"0.txt: the file changed after the run had looked at it"):
        source[np.array([2, 0])]


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path, monkeypatch):
    paths = write(tmp_path, "one two three")
    characters = text_files.characters

    def then_changed(paths, marks):
        found = characters(paths, marks)
        paths[0].write_text("one two four five", encoding="utf-8")
        return found

    monkeypatch.setattr(text_files, "characters", then_changed)
    with pytest.raises(ValueError, match=r"0.txt: the file changed after the run had looked at it"):
        data.CharText(paths, window=3)


def test_windows_that_mean_nothing_are_refused(tmp_path):
    paths = write(tmp_path, "text")
    for window, step in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=rf"window and step must be at least 1, found {window} and {step}"):
            data.CharText(paths, window, step)


def test_a_large_text_is_small_in_memory(tmp_path):
    text = io.StringIO()
    text.write("abcdefgh\n" * 1000)
    source = data.CharText(write(tmp_path, text.getvalue()), window=100, step=1)
    assert source._text.nbytes == 9000
