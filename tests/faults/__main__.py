"""Injects faults into real runs, and counts what was lost."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults import kills, report
from tests.faults.faults import FAULTS
from tests.faults.peer import Peer, measure


def told(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how often SIGKILL is sent")
    parser.add_argument("--faults", type=int, default=2, help="how often each of the other faults is injected")
    parser.add_argument("--keras", type=int, default=3, help="how many runs of Keras are killed three times each")
    parser.add_argument("--only", default="", help="those of the other faults whose name has this in it")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--report", action="store_true", help=f"write the tables of {report.PAGE.name}")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tapeline-faults-"))
    rows, peers = [], []
    if asked.kills:
        tally = kills.campaign(asked.kills, folder, asked.seed, workers=asked.workers, told=told)
        rows += report.kill_rows(tally)
        ours = Peer(len(tally.kills), tally.runs, equal=tally.runs - len(tally.different))
        ours.forgotten = len(tally.different)
        peers.append(report.peer_row("Tapeline", ours))
    if asked.faults:
        chosen = [fault for fault in FAULTS if asked.only in fault.name]
        rows += report.inject(chosen, asked.faults, folder, asked.seed, workers=asked.workers, told=told)
    for save_freq in ("epoch", "7") if asked.keras else ():
        peer = measure(save_freq, 3, asked.keras, folder, asked.seed)
        peers.append(report.peer_row(f"Keras, `save_freq={save_freq}`", peer))
        told(f"Keras, save_freq={save_freq}: {peer}")
    print(report.table(report.FAULTS, rows))
    if asked.report:
        report.update(report.PAGE, "faults", report.FAULTS, rows)
        report.update(report.PAGE, "peers", report.PEERS, peers)
    return int(any(row[2] != "nothing" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
