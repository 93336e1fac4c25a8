"""A run that is killed anywhere and started again ends with the very bytes of a run that was left alone."""

import collections
import random

import pytest

from tests.faults import kills
from tests.faults.moments import MOMENTS
from tests.faults.settings import SETTINGS


def test_killed_runs_are_the_undisturbed_runs(tmp_path, request):
    """On one device, under XLA and on two replicas; `--kills=500` kills more often."""
    count = request.config.getoption("--kills")
    tally = kills.campaign(count, tmp_path, seed=count)
    print(dict(tally.by_activity()))
    assert tally.different == {}
    assert len(tally.kills) == count


@pytest.fixture(scope="module")
def chance():
    return random.Random(0)


@pytest.mark.parametrize("count", [1, 8, 18, 500])
def test_kills_are_dealt_to_all_settings_and_moments_alike(count, chance):
    dealt = kills.rounds(count, chance)
    moments = collections.Counter(moment for _, moments in dealt for moment in moments)
    assert sum(moments.values()) == count
    assert max(moments.values()) - min(moments[moment] for moment in MOMENTS) <= 1
    assert len({setting.name for setting, _ in dealt}) == min(count, len(SETTINGS))
