"""The same kills against Keras' `fit` with `BackupAndRestore`."""

import collections
import dataclasses
import json
import random
import sys
from pathlib import Path

from tests.faults.processes import Process

STEPS = 240


@dataclasses.dataclass
class Peer:
    """What became of killed runs of Keras.

    kills, runs; repeated: steps that were done more than once and stand so in the history; forgotten: restarts behind
    which EarlyStopping's best or patience was not that of the run left alone; ended: the last step of each run, and of
    the one left alone; equal: runs that ended with its weights.
    """

    kills: int = 0
    runs: int = 0
    repeated: int = 0
    forgotten: int = 0
    ended: list[int] = dataclasses.field(default_factory=list)
    alone: int = 0
    equal: int = 0


def _command(run_dir: Path, save_freq: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("peer_keras.py")), str(run_dir), save_freq]


def _run(run_dir: Path, save_freq: str, kill_at: list[int]) -> int:
    """Kills at these numbers of steps, restarts, and lets it end; how often it was killed."""
    kills = 0
    for step in kill_at:
        with Process(_command(run_dir, save_freq), run_dir) as process:
            process.wait_for_step(step)
            if not process.running:
                break
            process.kill()
            kills += 1
    with Process(_command(run_dir, save_freq), run_dir) as process:
        assert process.finish() == 0, process.err.read_text()
    return kills


def measure(save_freq: str, kills: int, runs: int, folder: Path, seed: int) -> Peer:
    """`runs` runs, each killed `kills` times at random steps, beside one that was left alone."""
    chance, peer = random.Random(seed), Peer()
    alone = folder / f"keras_{save_freq}_alone"
    _run(alone, save_freq, [])
    expected, weights = _history(alone), _weights(alone)
    remembered = {r["step"]: (r["best"], r["wait"]) for r in expected if r["split"] == "validation"}
    peer.alone = expected[-1]["step"]
    for number in range(runs):
        run_dir = folder / f"keras_{save_freq}_{number}"
        peer.kills += _run(run_dir, save_freq, sorted(chance.sample(range(20, STEPS - 20), kills)))
        peer.runs += 1
        history = _history(run_dir)
        times = collections.Counter(r["step"] for r in history if r["split"] == "train")
        peer.repeated += sum(count - 1 for count in times.values())
        peer.forgotten += _forgotten(history, remembered)
        peer.ended.append(history[-1]["step"])
        peer.equal += _weights(run_dir) == weights
    return peer


def _forgotten(history: list[dict], remembered: dict[int, tuple[float, int]]) -> int:
    """After how many restarts the first thing that EarlyStopping remembers is another than in the run left alone."""
    count, process = 0, history[0]["process"]
    for record in history:
        if record["split"] == "validation" and record["process"] != process:
            count += (record["best"], record["wait"]) != remembered.get(record["step"])
            process = record["process"]
    return count


def _history(run_dir: Path) -> list[dict]:
    lines = (run_dir / "history.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def _weights(run_dir: Path) -> str:
    return json.loads((run_dir / "result.json").read_text())["weights_sha256"]
