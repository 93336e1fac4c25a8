"""Twelve right and wrong functions before four checkers of gradients; writes the table of docs/gradient-testing.md.

    pip install -e ".[benchmarks]" && python benchmarks/gradient_checkers.py

Every case is written once, in words that TensorFlow, PyTorch and JAX all have. Each checker is called with its defaults
and in its own way for second order. A peer that is not installed is left out, and the page says so.
"""

import contextlib
import dataclasses
import importlib.metadata
import math
import os
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from gradient_words import JAX, PyTorch, Refused, TensorFlow

PAGE = Path(__file__).parent.parent / "docs" / "gradient-testing.md"
BEGIN, END = "<!-- written by benchmarks/gradient_checkers.py -->", "<!-- end of what the script writes -->"
LIMIT_S = 60
LIMIT_GIB = 8


@dataclasses.dataclass
class Case:
    """make: from a framework's words to (function, inputs as NumPy arrays). right: whether it should be accepted."""

    name: str
    right: bool
    make: Callable
    order: int = 1
    at_kink: bool = False
    own_rule: bool = False


EIGHT = np.linspace(0.3, 1.7, 8)
MANY = np.linspace(-1.2, 1.2, 100_000)


def _one_coordinate(w):
    factors = np.ones(MANY.shape)
    factors[70_001] = 1.5
    factors = w.array(factors)
    return w.rule(lambda x: w.sum(w.sin(x)), lambda x, g: g * w.cos(x) * factors), [MANY]


def _second_order(w):
    cos = w.rule(w.cos, lambda x, g: g * w.sin(x))
    return w.rule(w.sin, lambda x, g: g * cos(x)), [EIGHT]


def _dense(w):
    rng = np.random.default_rng(0)
    return w.matmul, [rng.standard_normal((1, 2048)), rng.standard_normal((2048, 2048)) / math.sqrt(2048)]


CASES = [
    Case("an input that is forgotten: f(x, y) = sin x", False, lambda w: (lambda x, y: w.sin(x), [EIGHT, EIGHT])),
    Case("x² at 30,000 in float32", True, lambda w: (lambda x: x * x, [np.array([3e4], np.float32)])),
    Case("dropout that draws anew at each call", False, lambda w: (w.dropout, [EIGHT])),
    Case("ReLU at −1, exactly 0 and 2", True, lambda w: (w.relu, [np.array([-1.0, 0.0, 2.0])]), at_kink=True),
    Case("one coordinate in 100,000 is wrong by half", False, _one_coordinate, own_rule=True),
    Case(
        "sin x, gradient times 1.01",
        False,
        lambda w: (w.rule(w.sin, lambda x, g: 1.01 * g * w.cos(x)), [EIGHT]),
        own_rule=True,
    ),
    Case(
        "cos x, gradient with the wrong sign",
        False,
        lambda w: (w.rule(w.cos, lambda x, g: g * w.sin(x)), [EIGHT]),
        own_rule=True,
    ),
    Case(
        "x·exp x, gradient without one of its terms",
        False,
        lambda w: (w.rule(lambda x: x * w.exp(x), lambda x, g: g * w.exp(x)), [EIGHT]),
        own_rule=True,
    ),
    Case("two outputs, sin x and x²", True, lambda w: (lambda x: (w.sin(x), x * x), [EIGHT])),
    Case(
        "an integer input: rows of x, some of them twice",
        True,
        lambda w: (lambda x, rows: w.gather(x, rows) * 3.0, [EIGHT, np.array([1, 5, 1, 7])]),
    ),
    Case("sin x, only its second derivative is wrong", False, _second_order, order=2, own_rule=True),
    Case("x·W, 2048 to 2048, by x and by W", True, _dense),
]


@contextlib.contextmanager
def _limit(seconds):
    def ring(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(checker, words, case: Case, jacobian: bool) -> tuple[str, bool]:
    """(What the checker says, and in how many seconds; whether that is the truth)."""
    fn, arrays = case.make(words)
    inputs = [words.array(a) for a in arrays]
    if jacobian:
        outputs = sum(np.size(np.asarray(y)) for y in tf.nest.flatten(fn(*inputs)))
        gib = outputs * sum(a.nbytes for a in arrays if a.dtype.kind == "f") / 2**30
        if gib > LIMIT_GIB:
            return f"not run: a Jacobian of {gib:.0f} GiB", False
    begin = time.perf_counter()
    try:
        with _limit(LIMIT_S):
            checker(case, fn, inputs)
        said = "right"
    except Refused as refusal:
        print(f"  {case.name}: {' '.join(str(refusal).split())[:300]}")
        said = "wrong"
    except TimeoutError:
        return f"no answer in {LIMIT_S} s", False
    except Exception as error:
        print(f"  {case.name}: {type(error).__name__}: {str(error)[:200]}")
        said = f"crash ({type(error).__name__})"
    return f"{said}, {time.perf_counter() - begin:.2g} s", said == ("right" if case.right else "wrong")


def columns():
    """([name, checker, its framework's words, whether it makes a full Jacobian], what is installed and what is not)."""
    w = TensorFlow()
    found = [
        ("`engine.testing`", w.check_gradients, w, False),
        ("`tf.test.compute_gradient`", w.compute_gradient, w, True),
    ]
    said = [f"TensorFlow {tf.__version__}"]
    try:
        w = PyTorch()
        found += [("`torch` gradcheck", w.gradcheck, w, True), ("the same, fast mode", w.gradcheck_fast, w, False)]
        said.append(f"PyTorch {importlib.metadata.version('torch')}")
    except ImportError:
        said.append("PyTorch was not installed and is left out")
    try:
        w = JAX()
        found.append(("`jax` check_grads", w.check_grads, w, False))
        said.append(f"JAX {importlib.metadata.version('jax')}")
    except ImportError:
        said.append("JAX was not installed and is left out")
    return found, said


def main() -> int:
    warnings.simplefilter("ignore")
    checkers, versions = columns()
    warm = Case("", True, lambda w: (lambda x: w.sin(x) * x, [EIGHT]))
    rows, hits = [], [0] * len(checkers)
    for _, checker, words, jacobian in checkers:
        judge(checker, words, warm, jacobian)
    for case in CASES:
        cells = []
        for number, (name, checker, words, jacobian) in enumerate(checkers):
            said, true = judge(checker, words, case, jacobian)
            print(f"{case.name} | {name}: {said}", flush=True)
            cells.append(said if true else f"**{said}**")
            hits[number] += true
        rows.append([case.name, "right" if case.right else "wrong", *cells])
    rows.append(["answers that are true", f"{len(CASES)}", *map(str, hits)])
    head = ["case", "truth", *(name for name, *_ in checkers)]
    lines = [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows]]
    lines += ["", f"{', '.join(versions)}, Python {platform.python_version()}, {os.cpu_count()} cores. Not true: bold."]
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} lacks the lines {BEGIN!r} and {END!r}, between which the table goes")
    PAGE.write_text("\n".join([before + begin, "", *lines, "", end + after]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
