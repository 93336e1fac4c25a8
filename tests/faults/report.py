"""The tables of docs/reliability.md: made from what was counted, between markers, and nowhere else."""

import collections
import concurrent.futures
import random
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.faults import kills
from tests.faults.case import Case
from tests.faults.faults import Fault
from tests.faults.peer import Peer
from tests.faults.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_KILL = "SIGKILL, "


def kill_rows(tally: kills.Tally) -> list[list]:
    """A row for each thing that a killed process was doing."""
    counts = collections.Counter(kill.doing for _, kill in tally.kills)
    lost = "; ".join(line for lines in tally.different.values() for line in lines) or "nothing"
    shown = "the next start goes on from the newest checkpoint"
    return [[_KILL + doing, count, lost, shown] for doing, count in sorted(counts.items())]


def inject(
    faults: Iterable[Fault], times: int, folder: Path, seed: int, *, workers: int, told: Callable = print
) -> list[list]:
    """Injects each fault `times` times into runs of its own, and compares them with runs left alone."""
    faults = list(faults)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        settings = {fault.setting: None for fault in faults}
        alone = {s: pool.submit(kills.undisturbed, s, folder / f"alone_{n}") for n, s in enumerate(settings)}
        jobs = {}
        for number, fault in enumerate(faults):
            for time in range(times):
                case = Case(fault.setting, folder / f"run_{number}{time}", random.Random(f"{seed} {number} {time}"))
                jobs[pool.submit(fault.inject, case)] = (fault, case)
        rows = {fault.name: [fault.name, 0, "nothing", ""] for fault in faults}
        for job in concurrent.futures.as_completed(jobs):
            fault, case = jobs[job]
            row, shown, found = rows[fault.name], "", []
            try:
                shown = job.result()
                found = kills.differences(alone[fault.setting].result(), case.run_dir)
            except AssertionError as error:
                found = [f"not as it should be: {error}"]
            row[1], row[3] = row[1] + 1, shown or row[3]
            if found:
                row[2] = "; ".join(found)
            else:
                shutil.rmtree(case.run_dir)
            told(f"{fault.name}: {shown}: {found or 'nothing lost'}")
    return list(rows.values())


def table(header: Iterable[str], rows: Iterable[Iterable]) -> str:
    """A table of a page."""
    header = list(header)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (header, ["---"] * len(header), *rows))


def rows_of(text: str) -> list[list[str]]:
    """The rows of such a table."""
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()[2:]]


def merged(before: list[list[str]], now: list[list[str]]) -> list[list[str]]:
    """What was counted before, with what was counted anew in its place; kills, which come first, together."""
    anew = {row[0]: row for row in now}
    recount = any(name.startswith(_KILL) for name in anew)
    kept = {row[0]: row for row in before if not (recount and row[0].startswith(_KILL))}
    return sorted({**kept, **anew}.values(), key=lambda row: not row[0].startswith(_KILL))


def update(page: Path, name: str, header: list[str], rows: list[list]) -> None:
    """Sets rows of the table between the markers `name` of a page; the others stay."""
    between = re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)
    text = page.read_text()
    before = rows_of(between.search(text)[2].strip())
    whole = table(header, merged(before, [[str(cell) for cell in row] for row in rows]))
    page.write_text(between.sub(lambda match: f"{match[1]}{whole}\n{match[3]}", text))


FAULTS = ["fault", "injected", "lost", "how it shows"]
PEERS = ["", "runs", "kills", "steps that stand twice in the history", "restarts that forgot best value or patience",
         "runs that ended at another step", "runs that ended with other weights"]  # fmt: skip


def peer_row(name: str, peer: Peer) -> list:
    """Its row in the table of peers."""
    elsewhere = [step for step in peer.ended if step != peer.alone]
    told = f" (step {', '.join(map(str, sorted(elsewhere)))} instead of {peer.alone})" if elsewhere else ""
    return [
        name,
        peer.runs,
        peer.kills,
        peer.repeated,
        peer.forgotten,
        f"{len(elsewhere)}{told}",
        peer.runs - peer.equal,
    ]
