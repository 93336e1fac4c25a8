"""Tapeline beside its peers: the whole table by one command.

python -m benchmarks [--works=mlp_32,convnet] [--peers=keras,torch] [--rounds=5] [--quick]
python -m benchmarks --also=start,resident        what else is measured, instead of the table
"""

import argparse
import importlib.util
import json
import signal
import sys
import time
from pathlib import Path

from benchmarks import machine, plot, table
from benchmarks.also import ALSO
from benchmarks.peers import PEERS
from benchmarks.rounds import measure
from benchmarks.works import WORKS

_FOLDER = Path(__file__).parent
# Left out unless asked for: on a processor it takes minutes to compile.
_SLOW_TO_START = ("torch_compile",)


def main():
    # As at Ctrl-C, contenders are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    flags = _flags()
    told = machine.facts()
    print("\n".join(f"{name}: {value}" for name, value in told.items()))
    if told["load"] > 0.2:
        print(f"WARNING: others are at work here (load {told['load']}): intervals will be wide, medians may be wrong")
    path = Path(flags.output)
    results = json.loads(path.read_text()) if path.exists() and (flags.add or flags.also) else {}
    results |= {"machine": told, "threads": flags.threads}
    begun = time.perf_counter()
    if flags.also:
        for name in flags.also:
            print(f"\n## {name}", flush=True)
            results.setdefault("also", {})[name] = ALSO[name](flags, _tell)
            _write(results, path)
        return
    results |= {"rounds": flags.rounds, "quick": flags.quick}
    works = results.setdefault("works", {})
    peers = [peer for peer in flags.peers if _installed(peer)]
    for name in flags.works:
        work, started = WORKS[name], time.perf_counter()
        print(f"\n{work.title} …", flush=True)
        able = [peer for peer in peers if work.peers is None or peer in work.peers]
        found = measure(name, work, able, rounds=flags.rounds, seconds=flags.seconds, threads=flags.threads, tell=_tell)
        works[name] = {
            **{key: getattr(work, key) for key in ("title", "targets", "task", "precision", "batch", "tolerance")},
            "contenders": found,
            "took_s": round(time.perf_counter() - started, 1),
        }
        print(table.time_table({name: works[name]}), f"\ntook {works[name]['took_s']:.0f} s", flush=True)
        _write(results, path)
    results["machine"]["load_after"] = machine.load()
    results["took_s"] = round(time.perf_counter() - begun, 1)
    _write(results, path)
    parts = [table.ratio_table(works), table.LEGEND, table.time_table(works), table.remarks(works)]
    print("\n" + "\n\n".join(part for part in parts if part))
    if flags.quick:
        print("\n--quick: 3 short rounds tell whether every cell works, and not how fast it is")
    _draw(works, path.with_suffix(".png"))
    print(f"{path}, {time.perf_counter() - begun:.0f} s in all")


def _flags():
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0])
    usual = [peer for peer in PEERS if peer not in _SLOW_TO_START]
    parser.add_argument("--works", type=_names(WORKS), default=list(WORKS), help=f"of {', '.join(WORKS)}")
    parser.add_argument(
        "--peers", type=_names(PEERS), default=usual, help=f"of {', '.join(PEERS)}; ours is always there"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a contender's turn lasts")
    parser.add_argument("--threads", type=int, default=machine.processors(), help="of every contender")
    parser.add_argument("--quick", action="store_true", help="3 rounds of a tenth of a second: does every cell work?")
    parser.add_argument("--add", action="store_true", help="keep the output's other works, and replace those asked for")
    parser.add_argument("--also", type=_names(ALSO), default=[], help=f"instead of the table; of {', '.join(ALSO)}")
    parser.add_argument("--output", default=str(_FOLDER / "results.json"), help="the picture goes beside it")
    flags = parser.parse_args()
    if flags.quick:
        flags.rounds, flags.seconds = 3, 0.1
    elif flags.rounds < 5:
        parser.error(f"--rounds must be at least 5, found {flags.rounds}: fewer have no interval (or --quick)")
    flags.peers = [table.REFERENCE, *(peer for peer in flags.peers if peer != table.REFERENCE)]
    return flags


def _names(known):
    def parse(text):
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def _installed(peer):
    missing = [name for name in PEERS[peer].requires if importlib.util.find_spec(name) is None]
    if missing:
        _tell(f"SKIPPED {PEERS[peer].title}: {', '.join(missing)} not installed; pip install -e '.[benchmarks]'")
    return not missing


def _draw(works, path):
    if importlib.util.find_spec("matplotlib") is None:
        _tell(f"SKIPPED {path}: matplotlib not installed; pip install -e '.[benchmarks]'")
    else:
        plot.draw(works, path)


def _write(results, path):
    path.write_text(json.dumps(results, indent=1) + "\n")


def _tell(line):
    print(line, flush=True)


if __name__ == "__main__":
    main()
