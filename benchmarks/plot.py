"""The ratios as a picture."""

from benchmarks.peers import PEERS
from benchmarks.ratios import ratio
from benchmarks.table import REFERENCE


def draw(works, path):
    """Writes a PNG: one group of bars a work, one bar a peer, with intervals; dots are targets. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    peers = [
        peer
        for peer in PEERS
        if peer not in (REFERENCE, "floor") and any(peer in work["contenders"] for work in works.values())
    ]
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.22 * len(works) * (len(peers) + 1)))
    ticks = []
    for row, work in enumerate(works.values()):
        ours = work["contenders"].get(REFERENCE, {})
        ticks.append((-row * (len(peers) + 1) - (len(peers) - 1) / 2, work["title"]))
        for place, peer in enumerate(peers):
            theirs, height = work["contenders"].get(peer, {}), -row * (len(peers) + 1) - place
            target = work["targets"].get(peer)
            if target:
                axes.plot(target, height, "k.", zorder=3)
            if theirs.get("void") or ours.get("void") or not (theirs.get("rates") and ours.get("rates")):
                continue
            found, color = ratio(ours["rates"], theirs["rates"]), f"C{place}"
            if found.swallowed:
                axes.plot([found.low, found.high], [height, height], color=color, alpha=0.4)
                continue
            axes.barh(height, found.median - 1, left=1, color=color)
            axes.plot([found.low, found.high], [height, height], color="black", linewidth=1)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=f"C{place}") for place in range(len(peers))]
    axes.legend(handles, [PEERS[peer].title for peer in peers], loc="lower center", bbox_to_anchor=(0.5, 1), ncols=6)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.set_xlabel("Tapeline's examples a second over theirs; dots: targets; a line alone: not told apart")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.margins(y=0.01)
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
