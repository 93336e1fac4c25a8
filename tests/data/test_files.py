"""A file is read as it was found, or refused by name."""

import os

import pytest

from data import files


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def changing():
        with files.opened(path) as stream:
            stream.read(3)
            path.write_bytes(b"afterwards")

    with pytest.raises(ValueError, match=rf"^{path}: the file changed while it was read; leave it alone and start"):
        changing()
    with files.opened(path) as stream:
        assert files.read(path, 10) == stream.read()


def test_a_file_of_more_than_was_expected_is_not_read_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert files.read(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ValueError, match=r"file: expected at most 4 bytes, found more"):
        files.read(tmp_path / "file", 4)


def test_what_a_mark_was_taken_of_is_what_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    mark = files.mark(path)
    assert files.read(path, 10, mark) == b"before"
    assert files.size(mark) == 6
    path.write_bytes(b"later on")
    with pytest.raises(ValueError, match=rf"^{path}: the file changed after the run had looked at it"):
        files.read(path, 10, mark)


def test_bytes_are_read_from_their_place_and_the_end_of_the_file_is_no_place(tmp_path):
    path, found = tmp_path / "file", bytearray(3)
    path.write_bytes(b"0123456789")
    with files.opened(path) as stream:
        files.read_at(stream, path, 4, found)
        assert found == b"456"
        with pytest.raises(ValueError, match=rf"^{path}: expected 3 bytes at byte 8, found only 2$"):
            files.read_at(stream, path, 8, found)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe: expected a regular file, found prw"):
        files.read(tmp_path / "pipe", 10)
    with pytest.raises(IsADirectoryError):
        files.read(tmp_path, 10)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("{{function_node __wrapped__X}} Bad\n\t [[{{node Y}}]] [Op:IteratorGetNext] name: ", "Bad"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_reason_is_one_line_without_names_of_operations(message, line):
    assert files.reason(ValueError(message)) == line
