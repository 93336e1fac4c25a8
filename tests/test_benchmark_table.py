"""What the benchmarks may say of their rounds. Nothing here is timed, and no peer is needed."""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import rounds, scaling, table
from benchmarks.peers import PEERS
from benchmarks.ratios import Ratio, deviation, interval, ratio, void
from benchmarks.rounds import Failed, Process
from benchmarks.works import WORKS, arrays


@pytest.mark.parametrize(("count", "left_out"), [(5, 0), (7, 0), (8, 1), (10, 1), (11, 2), (20, 5)])
def test_an_interval_leaves_out_what_the_binomial_law_allows(count, left_out):
    shuffled = np.random.default_rng(0).permutation(count).tolist()
    assert interval(shuffled) == (left_out, count - 1 - left_out)


@pytest.mark.parametrize("count", [5, 8, 15])
def test_intervals_hold_the_median_nine_times_in_ten(count):
    draws = np.random.default_rng(1).exponential(size=[4000, count])
    held = np.mean([low <= math.log(2) <= high for low, high in map(interval, draws)])
    # 0.9, less three standard errors of 4,000 draws.
    assert held >= 0.9 - 3 * math.sqrt(0.09 / 4000)


def test_a_ratio_is_that_of_rounds_side_by_side():
    # Both were disturbed in the same rounds: the ratio knows nothing of it.
    assert ratio([200, 20, 100, 2, 40], [100, 10, 50, 1, 20]) == (2, 2, 2)


@pytest.mark.parametrize("rates", [([1, 2], [1]), ([], []), ([1, 0], [1, 1]), ([1, 1], [0, 1]), ([1], [math.nan])])
def test_rates_that_are_none_have_no_ratio(rates):
    with pytest.raises(ValueError, match=r"rates must be above 0|shorter|longer"):
        ratio(*rates)


@pytest.mark.parametrize(
    ("found", "swallowed"),
    [
        (Ratio(2.0, 1.9, 2.1), False),
        (Ratio(1.05, 1.03, 1.06), False),
        (Ratio(1.05, 1.02, 1.08), True),
        (Ratio(1.1, 0.9, 1.2), True),
        (Ratio(0.5, 0.4, 0.6), False),
        (Ratio(0.9, 0.8, 1.1), True),
        (Ratio(8.0, 2.0, 14.0), True),
        (Ratio(1.0, 1.0, 1.0), True),
    ],
)
def test_a_ratio_is_swallowed_where_its_interval_is_as_wide_as_what_it_says(found, swallowed):
    assert found.swallowed is swallowed


def contender(rates, **more):
    return {"title": "a peer", "rates": rates, "deviation": 0.0, "void": None, "note": "", **more}


OURS = contender([200.0, 210.0, 190.0, 205.0, 195.0])


def test_a_cell_shows_ratio_interval_and_target():
    theirs = contender([100.0] * 5)
    assert table.cell(OURS, "torch", theirs, 1.5) == "**2.00** (1.90 to 2.10) ✓ ≥ 1.5"
    assert table.cell(OURS, "torch", theirs, 2.5) == "**2.00** (1.90 to 2.10) ✗ ≥ 2.5"
    assert table.cell(OURS, "torch", theirs, None) == "**2.00** (1.90 to 2.10)"


def test_the_floors_cell_is_how_many_times_longer_we_take():
    floor = contender([400.0, 420.0, 380.0, 410.0, 390.0])
    assert table.cell(OURS, "floor", floor, 3) == "**2.00** (2.00 to 2.00) ✓ ≤ 3"
    assert table.cell(OURS, "floor", floor, 1.5) == "**2.00** (2.00 to 2.00) ✗ ≤ 1.5"


def test_a_swallowed_ratio_is_not_printed():
    shown = table.cell(OURS, "torch", contender([100.0, 300.0, 150.0, 250.0, 180.0]), 1.5)
    assert shown == "? (0.70 to 2.00)"


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_a_row_that_trains_something_else_is_void(which):
    wrong = {"void": "its first losses are off by 1e+00, more than 5e-03"}
    ours, theirs = (contender([1.0] * 5, **(wrong if which == name else {})) for name in ("ours", "theirs"))
    assert table.cell(ours, "torch", theirs, 1.5) == "void"


def test_who_could_not_run_has_no_numbers():
    failed = {"title": "PyTorch", "failed": "no compiler"}
    assert table.cell(OURS, "torch", failed, 1.5) == "—"
    works = {"w": {"title": "the work", "batch": 32, "targets": {}, "contenders": {"ours": OURS, "torch": failed}}}
    assert table.ratio_table(works).splitlines()[-1] == "| the work | 160 | — |"
    assert table.time_table(works).splitlines()[-1] == "| the work | 160 | — |"
    assert table.remarks(works) == "- the work, PyTorch: left out: no compiler"


def test_works_may_have_other_peers_than_each_other():
    works = {
        "a": {"title": "a", "batch": 1, "targets": {"jax": 9}, "contenders": {"ours": OURS, "jax": OURS}},
        "b": {"title": "b", "batch": 1, "targets": {}, "contenders": {"ours": OURS, "keras": contender([10.0] * 5)}},
    }
    lines = table.ratio_table(works).splitlines()
    assert lines[0] == "| work | ours, ms | Keras fit | JAX + Optax |"
    assert lines[2:] == ["| a | 5 |  | ? (1.00 to 1.00) |", "| b | 5 | **20.00** (19.00 to 21.00) |  |"]
    assert {line.count("|") for line in lines} == {5}


def test_losses_are_the_same_within_rounding_or_the_row_is_void():
    reference = [2.3, 2.2, 2.1]
    assert void([2.3, 2.2001, 2.1], reference, 1e-3) is None
    assert void([2.3, 2.2, 2.15], reference, 1e-3) == "its first losses are off by 2.4e-02, more than 1e-03"


@pytest.mark.parametrize("losses", [[2.3, 2.2], [2.3, math.nan, 2.1], [2.3, math.inf, 2.1]])
def test_losses_that_are_missing_or_not_finite_are_void(losses):
    assert deviation(losses, [2.3, 2.2, 2.1]) == math.inf
    assert void(losses, [2.3, 2.2, 2.1], 1e-3)


def test_a_logit_near_zero_is_compared_with_the_others():
    assert deviation([1e-6, 1.0], [0.0, 1.0]) == pytest.approx(1e-5)


@pytest.mark.parametrize("name", WORKS)
def test_a_works_numbers_fit_its_network_and_are_the_same_every_time(name):
    work = WORKS[name]
    inputs, labels = arrays(work)
    assert inputs.shape == (work.examples, *work.inputs)
    assert labels.min() >= 0
    assert labels.max() == work.classes - 1
    assert not set(work.targets) - set(PEERS)
    again = arrays(work)
    assert np.array_equal(inputs, again[0])
    assert np.array_equal(labels, again[1])
    if work.sizes.get("masked"):
        # Padding stands at the ends, and no text is empty.
        assert np.all(np.diff((inputs == 0).astype(int), axis=1) >= 0)
        assert np.all(inputs[:, 0] > 0)


@pytest.fixture
def turns(monkeypatch):
    """The (peer, request, epochs) in their order, of processes of which each takes a second for its peer's epochs."""
    asked = []

    class Fake:
        note, fast = "", {"ours": 8, "torch": 4, "jax": 2, "keras": 1}

        def __init__(self, peer, *_):
            self.peer = peer

        def ask(self, do, steps=0, count=0):
            asked.append((self.peer, do, count))
            if self.peer == "keras" and count > 1:
                raise Failed("no memory")
            return {"losses": [2.0 if self.peer == "jax" else 1.0] * steps, "seconds": count / self.fast[self.peer]}

        def close(self):
            asked.append((self.peer, "close", 0))

    monkeypatch.setattr(rounds, "Process", Fake)
    return asked


def measured(peers, work=WORKS["mlp_32"], **flags):
    told = []
    options = {"rounds": 3, "seconds": 1.0, "threads": 1, **flags}
    return rounds.measure("mlp_32", work, peers, **options, tell=told.append), told


def test_contenders_take_turns_of_about_one_length(turns):
    found, _ = measured(["ours", "torch"])
    assert turns[-8:-2] == [("ours", "epochs", 8), ("torch", "epochs", 4)] * 3
    assert turns[-2:] == [("ours", "close", 0), ("torch", "close", 0)]
    assert found["ours"]["rates"] == [8 * WORKS["mlp_32"].examples] * 3


def test_turns_are_of_whole_fits(turns):
    found, _ = measured(["ours", "torch"], dataclasses.replace(WORKS["mlp_32"], fit_epochs=5))
    assert turns[2:-2] == [("ours", "epochs", 5)] * 2 + [("torch", "epochs", 5)] * 2 + [
        ("ours", "epochs", 10), ("torch", "epochs", 5),
    ] * 3  # fmt: skip
    assert found["torch"]["rates"] == [4 * WORKS["mlp_32"].examples] * 3


def test_other_losses_than_ours_void_a_row(turns):
    found, told = measured(["ours", "torch", "jax"])
    assert [found[peer]["void"] is None for peer in found] == [True, True, False]
    assert [line for line in told if "void" in line and "JAX" in line]


def test_a_contender_that_fails_is_left_out_loudly_and_the_others_go_on(turns):
    # In its turn of two epochs.
    found, told = measured(["ours", "keras", "torch"], seconds=2.0)
    assert found["keras"]["failed"] == "no memory"
    assert "rates" not in found["keras"]
    assert len(found["torch"]["rates"]) == 3
    assert "SKIPPED Keras fit: no memory" in told
    assert turns[-3:] == [("ours", "close", 0), ("keras", "close", 0), ("torch", "close", 0)]


def test_a_contender_that_dies_tells_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/sh")
    # Which has no file of that name.
    with pytest.raises(Failed, match=r"benchmarks\.contender"):
        Process("ours", "mlp_32", tmp_path, threads=1)


def test_the_scaling_page_has_the_tables_that_its_assumptions_give():
    page = (Path(__file__).parent.parent / "docs" / "scaling.md").read_text()
    assert scaling.tables().strip() in page


def test_on_one_gpu_nothing_is_said_and_nothing_waited_for():
    cluster = scaling.Cluster()
    assert scaling.all_reduce_seconds(1e9, 1, cluster) == 0
    compute, *_, whole = scaling.step_seconds(scaling.RESNET, 1, cluster, synced=True)
    assert whole == compute


def test_two_gpus_of_a_host_pass_on_the_gradients_once():
    cluster = scaling.Cluster(within=1e9, latency=0.0)
    assert scaling.all_reduce_seconds(1e9, 2, cluster) == pytest.approx(1.0)
