"""Every case of every public differentiable thing passes all three verdicts, in the order that it asks for."""

import cases  # noqa: F401 (fills the registry)
import pytest
import registry

from engine import testing

ALL = [case for several in registry.CASES.values() for case in several]


@pytest.mark.parametrize("case", ALL, ids=str)
def test_gradients_are_right(case):
    function, inputs = case.make()
    # The second order takes several times as long as the first; and any direction moves everything.
    directions = 3 if case.order == 1 else 1
    report = testing.check_gradients(function, inputs, order=case.order, directions=directions, **case.options)
    for each in filter(None, (report, report.second)):
        assert set(each.skipped) == set(case.skips)


def test_a_case_stands_once():
    assert len({str(case) for case in ALL}) == len(ALL)
