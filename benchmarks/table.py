"""The table of ratios, in Markdown."""

import statistics

from benchmarks.peers import PEERS
from benchmarks.ratios import ratio

REFERENCE = "ours"


def cell(ours, peer, theirs, target):
    """One cell: the ratio with its interval and how it stands to the target, or why there is none.

    ours, theirs: what `benchmarks.rounds` found of two contenders. Of the floor it is its rate over ours: how many
    times longer we take.
    """
    if theirs is None:
        return ""
    if "failed" in theirs:
        return "—"
    if theirs.get("void") or ours.get("void"):
        return "void"
    is_floor = peer == "floor"
    found = ratio(theirs["rates"], ours["rates"]) if is_floor else ratio(ours["rates"], theirs["rates"])
    if found.swallowed:
        return f"? ({found.low:.2f} to {found.high:.2f})"
    text = f"**{found.median:.2f}** ({found.low:.2f} to {found.high:.2f})"
    if target is None:
        return text
    met = found.median <= target if is_floor else found.median >= target
    return f"{text} {'✓' if met else '✗'} {'≤' if is_floor else '≥'} {target:g}"


def milliseconds(work, own):
    """The median time of a step, from the rates of the rounds."""
    return 1e3 * work["batch"] / statistics.median(own["rates"])


def ratio_table(works):
    """Ours over theirs in examples a second, one row a work. `works` is that of `results.json`."""
    peers = [peer for peer in PEERS if peer != REFERENCE and any(peer in w["contenders"] for w in works.values())]
    lines = [
        "| work | ours, ms | " + " | ".join(PEERS[peer].title for peer in peers) + " |",
        "|---" * (2 + len(peers)) + "|",
    ]
    for work in works.values():
        ours = work["contenders"].get(REFERENCE)
        if ours is None or "failed" in ours:
            lines.append(f"| {work['title']} | — |" + " |" * len(peers))
            continue
        cells = [cell(ours, peer, work["contenders"].get(peer), work["targets"].get(peer)) for peer in peers]
        lines.append(f"| {work['title']} | {milliseconds(work, ours):.3g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def time_table(works):
    """Milliseconds a step of every contender, and the largest deviation of its first losses from ours."""
    peers = [peer for peer in PEERS if any(peer in work["contenders"] for work in works.values())]
    lines = ["| work | " + " | ".join(PEERS[peer].title for peer in peers) + " |", "|---" * (1 + len(peers)) + "|"]
    for work in works.values():
        cells = []
        for peer in peers:
            own = work["contenders"].get(peer, {})
            if "rates" not in own:
                cells.append("—" if own else "")
                continue
            off = f" (off {own['deviation']:.0e})" if own.get("deviation") else ""
            cells.append(f"{milliseconds(work, own):.3g}{off}")
        lines.append(f"| {work['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def remarks(works):
    """What the table can't hold: who was left out or void, and what the tuned ones chose."""
    lines = []
    for work in works.values():
        for own in work["contenders"].values():
            said = own.get("failed") and f"left out: {own['failed']}"
            said = said or (own.get("void") and f"void: {own['void']}") or own.get("note")
            if said:
                lines.append(f"- {work['title']}, {own['title']}: {said}")
    return "\n".join(lines)


LEGEND = (
    "Examples a second, ours over theirs (floor: theirs over ours): median of the rounds' ratios, and the interval\n"
    "that holds it. ?: the interval is as wide as the ratio's distance from 1, they are not told apart. void: it was\n"
    "not the same training. —: could not run."
)
