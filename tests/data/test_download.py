"""What is fetched is whole and verified before anyone reads it, and a break costs only what had not come."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import http.server
import os
import threading

import pytest

from data import download

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file with the weaknesses of `behaviour`, and remembers the ranges that were asked for."""

    def __init__(self, behaviour, *arguments):
        self.behaviour = behaviour
        super().__init__(*arguments)

    def do_GET(self):
        asked = self.headers.get("Range")
        self.behaviour["asked"].append(asked)
        content = self.behaviour.get("content", CONTENT)
        if code := self.behaviour.get("code"):
            self.send_error(code)
            return
        begin = int(asked[6:-1]) if asked and self.behaviour.get("ranges", True) else 0
        if begin >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            begin += self.behaviour.get("off", 0)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        cuts = self.behaviour.get("cuts", [])
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[begin : cuts.pop(0) if cuts else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(monkeypatch, tmp_path):
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with contextlib.ExitStack() as stack:

        def start(**behaviour):
            behaviour["asked"] = []
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, behaviour))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            remote = download.Remote(f"http://127.0.0.1:{server.server_address[1]}/set.bin", len(CONTENT), SHA256)
            return remote, behaviour["asked"]

        yield start


def obtain(remote):
    return download.obtain("set", [remote], lambda paths: {path.name: path.read_bytes() for path in paths})


def listed(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_is_fetched_once_verified_and_published(served, tmp_path):
    remote, asked = served()
    assert download.cached("set") is None
    folder = obtain(remote)
    assert folder == download.cached("set") == tmp_path / "cache/set"
    assert (folder / "set.bin").read_bytes() == CONTENT
    obtain(remote)
    assert asked == [None]
    assert listed(tmp_path / "cache") == ["set.lock", "set/set.bin"]


def test_a_connection_that_breaks_off_is_taken_up_again_where_it_broke(served):
    remote, asked = served(cuts=[100_000, 500_000])
    assert (obtain(remote) / "set.bin").read_bytes() == CONTENT
    assert asked == [None, "bytes=100000-", "bytes=500000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(served, tmp_path):
    remote, asked = served(cuts=[100_000, 200_000, 300_000])
    with pytest.raises(
        ConnectionError, match=r"set.bin: got 300000 of 1048576 bytes .*; try again .* put set.bin into"
    ):
        obtain(remote)
    assert download.cached("set") is None
    assert (obtain(remote) / "set.bin").read_bytes() == CONTENT
    assert asked[-1] == "bytes=300000-"


def test_a_server_without_ranges_sends_all_of_it_again(served):
    remote, asked = served(cuts=[100_000], ranges=False)
    assert (obtain(remote) / "set.bin").read_bytes() == CONTENT
    assert asked == [None, "bytes=100000-"]


def test_a_server_that_answers_another_range_is_refused(served):
    remote, _ = served(cuts=[100_000], off=7)
    with pytest.raises(ConnectionError, match=r"asked for bytes from 100000, got bytes 100007-"):
        obtain(remote)


def test_other_content_is_refused_and_not_kept(served, tmp_path):
    remote, _ = served(content=CONTENT[:-1] + b"x")
    with pytest.raises(ValueError, match=rf"expected SHA-256 {SHA256}, found [0-9a-f]{{64}}; fetch .* or put set.bin"):
        obtain(remote)
    assert listed(tmp_path / "cache") == ["set.lock"]


def test_a_file_that_is_longer_than_it_should_be_is_cut_and_refused(served, tmp_path):
    remote, _ = served(content=b"x" + CONTENT)
    with pytest.raises(ValueError, match=r"expected SHA-256"):
        obtain(remote)


def test_a_range_that_a_server_does_not_have_is_followed_by_a_new_start(served):
    remote, asked = served(content=CONTENT[:1000])
    with pytest.raises(ConnectionError, match=r"got 1000 of 1048576 bytes \(.*Range"):
        obtain(remote)
    assert asked == [None, "bytes=1000-", None]


@pytest.mark.parametrize("code", [403, 404, 500])
def test_a_refusal_says_which_file_to_put_where(served, code):
    remote, asked = served(code=code)
    with pytest.raises(ConnectionError, match=rf"{remote.url}: got 0 of .*put set.bin into a folder.* data_dir$"):
        obtain(remote)
    assert len(asked) == 1


def test_no_network_says_which_file_to_put_where(served):
    remote = download.Remote("http://127.0.0.1:9/set.bin", 5, "0" * 64)
    with pytest.raises(ConnectionError, match=r"got 0 of 5 bytes \([^\n]*refused[^\n]*put set.bin into a folder"):
        obtain(remote)


def test_a_cache_that_cannot_be_written_says_which_file_to_put_where(served, tmp_path, monkeypatch):
    remote, asked = served()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(OSError, match=r"^set: cannot fill the cache .*file/cache \(.*\); put set.bin into a folder"):
        obtain(remote)
    assert asked == []


def test_unpacking_that_fails_publishes_nothing(served, tmp_path):
    remote, _ = served()
    with pytest.raises(ZeroDivisionError):
        download.obtain("set", [remote], lambda paths: 1 / 0)
    assert download.cached("set") is None
    assert listed(tmp_path / "cache") == ["set.incoming/set.bin", "set.lock"]


def test_of_several_that_ask_at_once_one_fetches_and_all_have_it(served, tmp_path):
    remote, asked = served()
    # The lock belongs to the opened file: threads are as good as processes.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(obtain, [remote] * 4)) == [tmp_path / "cache/set"] * 4
    assert asked == [None]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    for name in ("TAPELINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache_dir() == tmp_path / ".cache/tapeline"
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.join(tmp_path, "xdg"))
    assert download.cache_dir() == tmp_path / "xdg/tapeline"
    monkeypatch.setenv("TAPELINE_CACHE", os.path.join(tmp_path, "own"))
    assert download.cache_dir() == tmp_path / "own"


def test_what_lies_in_the_cache_since_a_run_was_killed_is_verified_again(served, tmp_path):
    remote, asked = served()
    (tmp_path / "cache/set.incoming").mkdir(parents=True)
    (tmp_path / "cache/set.incoming/set.bin").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ValueError, match=r"expected SHA-256"):
        obtain(remote)
    (tmp_path / "cache/set.incoming/set.bin").write_bytes(CONTENT)
    assert (obtain(remote) / "set.bin").read_bytes() == CONTENT
    assert asked == []


def test_a_file_may_be_known_by_the_sum_that_was_published(served, tmp_path):
    remote, _ = served()
    md5 = hashlib.md5(CONTENT).hexdigest()
    folder = obtain(dataclasses.replace(remote, sha256=md5, algorithm="md5"))
    assert (folder / "set.bin").read_bytes() == CONTENT
    (folder / "set.bin").unlink()
    folder.rmdir()
    with pytest.raises(ValueError, match="expected MD5 0, found"):
        obtain(dataclasses.replace(remote, sha256="0", algorithm="md5"))
