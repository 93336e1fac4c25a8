"""NumPy's files give the arrays that were saved; what could run code, lie or be missing is refused."""

import io
import os
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import data
from data import numpy_files

DTYPES = ["?", "u1", "<i2", ">i4", "<i8", "<f2", "<f4", ">f8"]


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), **options)
    return out.getvalue()


def npz(members, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


arrays = npst.arrays(
    st.sampled_from(DTYPES),
    npst.array_shapes(min_dims=1, max_dims=3, max_side=6),
    elements={"allow_nan": False, "allow_infinity": False},
)


@given(arrays, st.data())
def test_rows_on_the_disk_are_the_rows_that_were_saved(tmp_path_factory, array, draw):
    path = tmp_path_factory.mktemp("npy") / "train_inputs.npy"
    path.write_bytes(npy(array))
    source = data.load("npy", data_dir=path.parent)
    indices = np.array(draw.draw(st.lists(st.integers(0, len(array) - 1), max_size=12)), np.int64)
    found = source[indices]["inputs"]
    np.testing.assert_array_equal(found, array[indices])
    assert found.dtype == array.dtype.newbyteorder("=")
    assert (len(source), source.arrays, source.info.input_shape) == (len(array), None, array.shape[1:])


@given(arrays, st.booleans(), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_an_npz_gives_the_arrays_that_were_saved(tmp_path_factory, array, fortran, compression):
    path = tmp_path_factory.mktemp("npz") / "test.npz"
    labels = np.arange(len(array), dtype=">i2")
    stored = np.asfortranarray(array) if fortran else array
    path.write_bytes(npz({"inputs.npy": npy(stored), "labels.npy": npy(labels)}, compression))
    source = data.load("npz", "test", path.parent, classes=len(array))
    np.testing.assert_array_equal(source.arrays["inputs"], array)
    np.testing.assert_array_equal(source.arrays["labels"], labels)
    assert source.info.classes == len(array)


def test_what_numpy_itself_saves_is_read(tmp_path):
    inputs, labels, weights = np.random.default_rng(0).normal(size=[5, 3]), np.arange(5), np.ones(5, np.float32)
    np.savez_compressed(tmp_path / "train.npz", inputs=inputs, labels=labels, weights=weights)
    for name, array in {"inputs": inputs, "labels": labels, "weights": weights}.items():
        np.save(tmp_path / f"train_{name}.npy", array)
    memory, disk = data.load("npz", data_dir=tmp_path), data.load("npy", data_dir=tmp_path, classes=5)
    for name, array in disk[np.arange(5)].items():
        np.testing.assert_array_equal(array, memory.arrays[name])
    assert disk.info.classes == 5


ZEROS = npy(np.zeros([4, 3], np.float32))


PICKLE = npy(np.array([object()]), allow_pickle=True)
BAD = {
    "pickled objects": (PICKLE, "holds pickled Python objects, which can run any code"),
    "records": (npy(np.zeros(3, "i4,f4")), "expected dtype, order and shape of plain numbers"),
    "complex": (npy(np.zeros(3, "c8")), "expected booleans, integers or floats of at most 64 bits, found complex64"),
    "text": (npy(np.array(["a"])), "expected booleans, integers or floats"),
    "a dtype that is none": (ZEROS.replace(b"<f4", b"<g4"), "byte 10: data type '<g4' not understood"),
    "nothing": (b"", "expected the start of an .npy file, found nothing"),
    "another format": (b"PK\3\4" + bytes(90), "expected the start of an .npy file, found 50 4b"),
    "one byte short": (ZEROS[:-1], "expected 48 bytes of values, found only 47"),
    "one byte more": (ZEROS + b"\0", "expected 48 bytes of values, found 49"),
    "terabytes promised": (
        ZEROS.replace(b"(4, 3), }" + b" " * 12, b"(9999999999999, 3), }")[:128] + bytes(48),
        "expected 119999999999988 bytes of values, found only 48",
    ),
    "a negative size": (ZEROS.replace(b"(4, 3)", b"(-4, 3)"), "plain numbers"),
    "code in its header": (ZEROS.replace(b"False, ", b"1 + 1, "), "plain numbers"),
    "a header without end": (b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(9), "expected a header of at most 4096 bytes"),
    "not a number": (npy(np.array([[0.0, 1.0], [0.0, np.nan], [np.inf, 0.0]])), "row 1 has a value that is not finite"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_what_no_plain_array_is_refused_from_either_file(tmp_path, content, reason):
    (tmp_path / "train_inputs.npy").write_bytes(content)
    (tmp_path / "train.npz").write_bytes(npz({"inputs.npy": content}))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path))}/train_inputs.npy: [^\n]*{reason}[^\n]*$"):
        data.load("npy", data_dir=tmp_path)[np.arange(3)]
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path))}/train.npz: inputs[^\n]*{reason}[^\n]*$"):
        data.load("npz", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "File is not a zip file"),
        (npz({"inputs.npy": npy(np.ones(2)), "more.npy": npy(np.ones(2))}), r"found \['inputs', 'more'\]"),
        (npz({"labels.npy": npy(np.ones(2))}), r"expected arrays inputs .*, found \['labels'\]"),
        (npz({"../inputs.py": b""}), r"member '../inputs.py': expected arrays"),
        (npz({"inputs.npy": npy(np.ones(2)), "labels.npy": npy(np.zeros(3, int))}), "same first dimension"),
        (npz({"inputs.npy": npy(np.ones([2, 2])), "labels.npy": npy(np.array([0, 3]))}), "label in row 1 is 3"),
    ],
)
def test_an_npz_that_is_not_the_arrays_it_should_be_is_refused(tmp_path, content, reason):
    (tmp_path / "train.npz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path))}/train.npz: [^\n]*{reason}[^\n]*$"):
        data.load("npz", data_dir=tmp_path, classes=3)


def test_an_npz_that_expands_without_bound_is_refused_unread(tmp_path):
    path = tmp_path / "train.npz"
    path.write_bytes(npz({"inputs.npy": npy(np.zeros(10**6))}))
    with pytest.raises(ValueError, match=r"expands to 8000128 bytes, expected at most 1000000"):
        data.load("npz", data_dir=tmp_path, max_bytes=10**6)


def test_a_damaged_value_is_found_by_its_checksum(tmp_path):
    content = bytearray(npz({"inputs.npy": npy(np.zeros(100))}, zipfile.ZIP_STORED))
    content[400] ^= 1
    (tmp_path / "train.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"train.npz: Bad CRC-32 for file 'inputs.npy'; write the file again"):
        data.load("npz", data_dir=tmp_path)


def test_rows_that_are_not_contiguous_are_refused_on_the_disk(tmp_path):
    np.save(tmp_path / "train_inputs.npy", np.asfortranarray(np.zeros([3, 4])))
    with pytest.raises(ValueError, match=r"not contiguous \(Fortran order\): write numpy.ascontiguousarray"):
        data.load("npy", data_dir=tmp_path)


def test_files_of_other_lengths_and_labels_outside_the_classes_are_named(tmp_path):
    np.save(tmp_path / "train_inputs.npy", np.zeros([4, 2]))
    np.save(tmp_path / "train_labels.npy", np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"train_labels.npy: expected 4 rows, as many as in .*inputs.npy, found 3"):
        data.load("npy", data_dir=tmp_path)
    np.save(tmp_path / "train_labels.npy", np.array([0, 1, 2, 3]))
    source = data.load("npy", data_dir=tmp_path, classes=3)
    assert source[np.array([2, 0])]["labels"].tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"train_labels.npy: npy: the label in row 3 is 3, expected 0 to 2"):
        source[np.array([1, 3])]
    with pytest.raises(IndexError, match=r"train_inputs.npy: expected rows 0 to 3, found -1 to 1"):
        source[np.array([1, -1])]


@pytest.mark.parametrize("change", ["shorter", "other bytes", "another file"])
def test_a_file_that_changes_under_the_source_is_refused(tmp_path, change):
    path = tmp_path / "train_inputs.npy"
    path.write_bytes(ZEROS)
    source = data.load("npy", data_dir=tmp_path)
    source[np.arange(4)]
    if change == "shorter":
        os.truncate(path, 150)
    elif change == "other bytes":
        path.write_bytes(npy(np.ones([4, 3], np.float32)))
        os.utime(path, ns=(0, 0))
    else:
        (tmp_path / "new").write_bytes(ZEROS)
        os.replace(tmp_path / "new", path)
    with pytest.raises(ValueError, match=r"train_inputs.npy: the file changed after the run had looked at it"):
        source[np.arange(4)]


def test_arrays_that_are_memory_mapped_stay_on_the_disk(tmp_path):
    np.save(tmp_path / "inputs.npy", np.arange(6.0))
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2, 0, 1, 3]))
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("inputs", "labels")]
    source = data.Arrays(*mapped, info=data.Info("mapped", 3))
    assert source.arrays is None
    assert source[np.array([4, 2])]["inputs"].tolist() == [4.0, 2.0]
    with pytest.raises(ValueError, match=r"mapped: the label in row 5 is 3, expected 0 to 2"):
        source[np.array([0, 5])]


def test_a_missing_file_is_named(tmp_path):
    for name, file in {"npy": "train_inputs.npy", "npz": "train.npz"}.items():
        with pytest.raises(FileNotFoundError, match=rf"has no {file}; put it there"):
            data.load(name, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"npy: expected inputs and perhaps labels and weights, found labels"):
        numpy_files.NpyFiles({"labels": tmp_path})
