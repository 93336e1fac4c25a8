"""What can happen to a run beside SIGKILL, done to real runs of the command line, one function a fault.

Each function disturbs a run, lets it come to its end, and returns what a person saw; what was lost is found by
comparing the run with one that was left alone.
"""

import contextlib
import dataclasses
import hashlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.case import Case, line_with
from tests.faults.processes import Process, train
from tests.faults.settings import EVERYTHING, Setting, words

FLAGS = (*EVERYTHING, "--model=mlp", "--units=64", "--optimizer=adamw", "--patience=9", "--epochs=8")
DENSE = Setting("a dense network, one device", lambda run_dir: train(run_dir, *FLAGS), 144)
SKIPPED = Setting("an embedding, NaN skipped", lambda run_dir: words(run_dir, "skip"), 180)
ROLLED_BACK = Setting("an embedding, NaN rolled back", lambda run_dir: words(run_dir, "rollback"), 126)
# Between what a checkpoint of the dense network takes and all else that it writes.
_NO_CHECKPOINT_FITS = 300_000


def truncated_newest(case: Case) -> str:
    """At a random byte, after a kill."""
    file = case.kill() / "variables.data-00000-of-00001"
    os.truncate(file, case.chance.randrange(file.stat().st_size))
    return f"`{line_with(case.finish(), 'is damaged')}`"


def flipped_bit(case: Case) -> str:
    """In one of its two files of values, after a kill."""
    folder = case.kill()
    file = case.chance.choice(sorted(folder.glob("variables.*")))
    content = bytearray(file.read_bytes())
    content[case.chance.randrange(len(content))] ^= 1 << case.chance.randrange(8)
    file.write_bytes(content)
    return f"`{line_with(case.finish(), 'is damaged')}`"


def flipped_bit_of_a_manifest(case: Case) -> str:
    """After a kill."""
    file = case.kill() / "manifest.json"
    content = bytearray(file.read_bytes())
    content[case.chance.randrange(len(content))] ^= 1 << case.chance.randrange(8)
    file.write_bytes(content)
    return f"`{line_with(case.finish(), 'going back')}`"


def _shrink_the_disk(process: Process, size: int) -> None:
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def full_for_a_while(case: Case) -> str:
    """Training goes on, and a later checkpoint is written."""
    with case.start() as process:
        case.run_to_a_step(process)
        _shrink_the_disk(process, _NO_CHECKPOINT_FITS)
        process.wait_for_word("could not be written")
        _shrink_the_disk(process, resource.RLIM_INFINITY)
        code, said = process.finish(), process.err.read_text()
        assert code == 0, said
    return f"`{line_with(said, 'could not be written')}`"


def full_to_the_end(case: Case) -> str:
    """The run can't be ended, and is started again when there is room."""
    with case.start() as process:
        case.run_to_a_step(process)
        _shrink_the_disk(process, _NO_CHECKPOINT_FITS)
        code, said = process.finish(), process.err.read_text()
        assert code == 2, f"exit code {code}: {said}"
    case.finish()
    return f"exit 2, `{line_with(said, 'train.py: error')}`"


def full_for_everything(case: Case) -> str:
    """The history can't be written on; the run is started again when there is room."""
    with case.start() as process:
        case.run_to_a_step(process)
        _shrink_the_disk(process, (case.run_dir / "history.jsonl").stat().st_size + 1)
        code, said = process.finish(), process.err.read_text()
        assert code == 2, f"exit code {code}: {said}"
    case.finish()
    return f"exit 2, `{line_with(said, 'train.py: error')}`"


def clock_back(case: Case) -> str:
    """Python's clock, within the process; then a kill, and files that are from tomorrow."""
    with case.start() as process:
        case.run_to_a_step(process)
        process.send(signal.SIGUSR2)
        time.sleep(case.chance.uniform(0, 0.3))
        process.kill()
    # What the first process left is from tomorrow.
    for file in case.run_dir.rglob("*"):
        os.utime(file, (time.time() + 86400,) * 2)
    assert "damaged" not in case.finish()
    return "nothing to see"


def two_processes(case: Case) -> str:
    """While the first has it."""
    with case.start() as process:
        case.run_to_a_step(process)
        assert process.freeze()
        second = Process(case.setting.command(case.run_dir), case.run_dir.with_name(f"{case.run_dir.name}_second"))
        with second:
            code, said = second.finish(), second.err.read_text()
        assert code == 2, f"exit code {code}: {said}"
        process.thaw()
        assert process.finish() == 0, process.err.read_text()
    return f"exit 2, `{line_with(said, 'in use by')}`"


@contextlib.contextmanager
def _read_only(run_dir: Path) -> Iterator[None]:
    folders = [run_dir, *(path for path in run_dir.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


def _content(run_dir: Path) -> dict[Path, str]:
    files = (path for path in run_dir.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_only(case: Case) -> str:
    """When a killed run is started again; later it is writable."""
    case.kill()
    before = _content(case.run_dir)
    # Permissions mean nothing to root, unless it lays down the right to pass over them.
    prefix = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    with _read_only(case.run_dir):
        said = case.finish(2, prefix)
    assert _content(case.run_dir) == before
    case.finish()
    return f"exit 2, `{line_with(said, 'train.py: error')}`"


def _signalled(case: Case, number: int, code: int, times: int = 1) -> str:
    with case.start() as process:
        case.run_to_a_step(process)
        begun = time.monotonic()
        for _ in range(times):
            process.send(number)
            time.sleep(0.001)
        found, took = process.finish(), time.monotonic() - begun
        assert found == code, f"exit code {found}: {process.err.read_text()}"
        assert took < 10, f"it took {took:.1f} s to end"
    case.finish()
    return f"exit {code}"


def interrupted(case: Case) -> str:
    """SIGINT at a random moment; started again."""
    return f"{_signalled(case, signal.SIGINT, 130)} within 10 s, after a checkpoint of the last step"


def terminated(case: Case) -> str:
    """SIGTERM at a random moment; started again."""
    return f"{_signalled(case, signal.SIGTERM, 143)} within 10 s, after a checkpoint of the last step"


def interrupted_twice(case: Case) -> str:
    """The second ends the process at once; started again."""
    return _signalled(case, signal.SIGINT, 130, times=2)


def not_a_number(case: Case) -> str:
    """The policy deals with it, on both sides of a kill."""
    case.kill()
    return f"`{line_with(case.finish(), 'is not finite')}`"


def not_a_number_ends(case: Case) -> str:
    """With the policy raise; then the run is started again to skip such steps."""
    with Process(words(case.run_dir, "raise"), case.run_dir) as process:
        code, said = process.finish(), process.err.read_text()
    assert code == 1, f"exit code {code}: {said}"
    case.finish()
    return f"exit 1, `{line_with(said, 'is not finite')}`"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is injected, in words; into which run; by which function."""

    name: str
    setting: Setting
    inject: Callable[[Case], str]


FAULTS = (
    Fault("the disk is full for a checkpoint, and has room again later", DENSE, full_for_a_while),
    Fault("the disk is full for checkpoints to the end", DENSE, full_to_the_end),
    Fault("the disk is full for every file", DENSE, full_for_everything),
    Fault("the newest checkpoint is truncated", DENSE, truncated_newest),
    Fault("one bit of the newest checkpoint is flipped", DENSE, flipped_bit),
    Fault("one bit of the newest checkpoint's manifest is flipped", DENSE, flipped_bit_of_a_manifest),
    Fault("the clock falls back by a day", DENSE, clock_back),
    Fault("a second process is started on the folder", DENSE, two_processes),
    Fault("the folder is read-only", DENSE, read_only),
    Fault("SIGTERM", DENSE, terminated),
    Fault("SIGINT (Ctrl-C)", DENSE, interrupted),
    Fault("SIGINT twice", DENSE, interrupted_twice),
    Fault("NaN in batches, skipped, and a kill", SKIPPED, not_a_number),
    Fault("NaN in batches, rolled back, and a kill", ROLLED_BACK, not_a_number),
    Fault("NaN in a batch ends the run", SKIPPED, not_a_number_ends),
)
