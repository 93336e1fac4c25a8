"""An archive gives the members that were expected, and nothing else of what it says is believed."""

import gzip
import io
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import archives

FILES = {"set/a.bin": b"A" * 700, "set/b.bin": bytes(range(256)) * 4, "set/readme": b"words"}


def member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    return info, content


def packed(*members, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def written(folder, tar):
    path = folder / "set.tar.gz"
    path.write_bytes(gzip.compress(tar, mtime=0))
    return path


def read(path, wanted=FILES.__contains__, most=1 << 20):
    return archives.members(path, wanted, most)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(
    st.dictionaries(st.sampled_from(sorted(FILES)), st.binary(max_size=1500)), st.sets(st.sampled_from(sorted(FILES)))
)
def test_the_wanted_members_are_those_that_were_packed(tmp_path_factory, form, contents, wanted):
    tar = packed(member("set", kind=tarfile.DIRTYPE), *(member(*item) for item in contents.items()), form=form)
    found = read(written(tmp_path_factory.mktemp("tar"), tar), wanted.__contains__)
    assert found == {name: content for name, content in contents.items() if name in wanted}


def test_a_name_of_two_fields_is_joined(tmp_path):
    name = f"{'d' * 90}/{'e' * 60}"
    assert read(written(tmp_path, packed(member(name, b"x"))), {name}.__contains__) == {name: b"x"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (member("../evil", b"x"), r"member '../evil' leads out of the archive"),
        (member("set/../../evil", b"x"), r"leads out of the archive"),
        (member("..\\evil", b"x"), r"leads out of the archive"),
        (member("/etc/passwd", b"x"), r"member '/etc/passwd' leads out of the archive"),
        (
            member("set/a.bin", kind=tarfile.SYMTYPE, link="/etc/passwd"),
            r"'set/a.bin' is a symbolic link, expected a file",
        ),
        (member("link", kind=tarfile.LNKTYPE, link="set/a.bin"), r"is a hard link"),
        (member("null", kind=tarfile.CHRTYPE), r"is a character device"),
        (member("disk", kind=tarfile.BLKTYPE), r"is a block device"),
        (member("pipe", kind=tarfile.FIFOTYPE), r"is a named pipe"),
        (member("odd", kind=b"Z"), r"of unknown type b'Z'"),
    ],
)
def test_a_member_that_is_no_plain_file_inside_condemns_the_archive(tmp_path, bad, reason):
    path = written(tmp_path, packed(member("set/readme", b"words"), bad))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: byte 1024: [^\n]*{reason}[^\n]*$"):
        read(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.tar.gz"]


def test_a_member_that_comes_twice_is_refused(tmp_path):
    path = written(tmp_path, packed(member("set/readme", b"one"), member("./set/readme", b"two")))
    with pytest.raises(ValueError, match=r"byte 1024: member 'set/readme' comes twice"):
        read(path)


@pytest.mark.parametrize("name", ["set/readme", "other"])
def test_an_archive_that_expands_without_bound_is_left_at_the_bound(tmp_path, name):
    path = written(tmp_path, packed(member(name, bytes(10**7))))
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"expands beyond 5000 bytes"):
        read(path, most=5000)
    path = written(tmp_path, packed(member("set/readme", b"words")) + bytes(10**7))
    with pytest.raises(ValueError, match=r"expands beyond 20000 bytes"):
        read(path, most=20000)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda tar: tar[:700], r"byte 517: expected 507 bytes, found only 183"),
        (lambda tar: tar[:1024], r"byte 1024: expected 512 bytes, found only 0"),
        (lambda tar: b"x" + tar[1:], r"byte 0: a tar header with a wrong checksum"),
        (lambda tar: tar[:148] + b"99999999" + tar[156:], r"byte 0: a tar header with a wrong checksum"),
        (lambda tar: b"", r"byte 0: expected 512 bytes, found only 0"),
    ],
)
def test_a_damaged_tar_is_refused(tmp_path, harm, reason):
    with pytest.raises(ValueError, match=reason):
        read(written(tmp_path, harm(packed(member("set/readme", b"words")))))


def test_a_size_that_is_no_octal_number_is_refused(tmp_path):
    tar = bytearray(packed(member("set/readme", b"words")))
    tar[124:136] = b"\x80" + bytes(10) + b"\x05"
    tar[148:156] = b"%06o\0 " % (sum(tar[:148]) + 8 * 32 + sum(tar[156:512]))
    with pytest.raises(ValueError, match=r"byte 0: member 'set/readme' has no legible size"):
        read(written(tmp_path, bytes(tar)))


def test_a_wrong_or_missing_gzip_is_refused_even_behind_the_last_member(tmp_path):
    path = written(tmp_path, packed(member("set/readme", b"words")))
    good = path.read_bytes()
    for content in (good[:-1], good[:-8] + bytes([good[-8] ^ 1]) + good[-7:], good[: len(good) // 2], b"PK", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: "):
            read(path)


def test_a_folder_is_published_whole_or_not_at_all(tmp_path):
    archives.publish(tmp_path / "set", {"a": b"1", "deep/b": b"2"})
    assert (tmp_path / "set/deep/b").read_bytes() == b"2"
    archives.publish(tmp_path / "set", {"a": b"other"})
    assert (tmp_path / "set/a").read_bytes() == b"1"
    with pytest.raises(TypeError):
        archives.publish(tmp_path / "half", {"a": b"1", "b": None})
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
