"""What the tests of strategies share: all that is drawn, and the smallest."""

from hypothesis import HealthCheck, Phase, find, given, settings


def drawn(strategy, examples=100):
    """A list of what a strategy draws."""
    found = []

    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


def smallest(strategy, condition=lambda value: True):
    """The smallest value that is found to meet a condition."""
    return find(strategy, condition, settings=settings(max_examples=30))
