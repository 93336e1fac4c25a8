"""A checkpoint is what its manifest says, and the manifest says whether it is itself what was written."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

import engine
from engine.files import checkpoints

FACTS = {"step": 7, "number": 3, "due": True, "run": {"seed": 0, "batch_size": 8}}


def test_every_flipped_bit_of_a_manifest_is_seen(tmp_path):
    """Or changes nothing that it says, such as the kind of a white space, or the name of the checksum itself."""
    folder = checkpoints.save(tmp_path / "step-00000007", {"a": np.arange(3.0)}, **FACTS)
    file = folder / "manifest.json"
    content, said = file.read_bytes(), checkpoints.facts_of(folder)
    assert {name: said[name] for name in FACTS} == FACTS
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            file.write_bytes(flipped)
            try:
                assert checkpoints.facts_of(folder).items() >= said.items()
            except engine.CheckpointError:
                continue


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def test_a_checkpoint_that_is_written_anew_is_whole_at_every_moment(tmp_path, monkeypatch):
    """The last step may be saved twice, before and behind its boundary, and be the only one that is kept."""
    folder, seen, calls = tmp_path / "step-00000007", set(), 0

    def breaking(function, at):
        def called(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at:
                raise Killed
            return function(*args, **kwargs)

        return called

    for at in range(1, 20):
        shutil.rmtree(folder, ignore_errors=True)
        checkpoints.save(folder, {"a": np.float32(0)}, **FACTS)
        calls = 0
        with monkeypatch.context() as patch:
            for owner, name in ((Path, "rename"), (shutil, "rmtree"), (checkpoints, "sync"), (Path, "write_text")):
                patch.setattr(owner, name, breaking(getattr(owner, name), at))
            with contextlib.suppress(Killed):
                checkpoints.save(folder, {"a": np.float32(1)}, **FACTS)
        checkpoints.sweep(tmp_path)
        assert checkpoints.latest(tmp_path) == folder
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
        seen.add(float(tf.train.load_variable(str(folder / "variables"), "a")))
        if calls < at:
            break
    assert calls < at
    assert seen == {0, 1}
