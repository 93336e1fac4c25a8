"""Widths pad least, of all choices of so many."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.widths import widths


def padded(lengths, chosen):
    chosen = np.asarray(chosen)
    return int(chosen[np.searchsorted(chosen, np.maximum(lengths, 1))].sum())


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(1, 4))
def test_no_other_widths_pad_less(lengths, most):
    found, longest = widths(lengths, most), max(1, *lengths)
    assert 1 <= len(found) <= most
    assert found[-1] == longest
    assert np.all(np.diff(found) > 0)
    others = itertools.combinations(range(1, longest), min(most, longest) - 1)
    assert padded(lengths, found) == min(padded(lengths, [*other, longest]) for other in others)


@pytest.mark.parametrize(("longest", "share"), [(256, 0.06), (500, 0.12), (10**9, 0.23)])
def test_of_many_lengths_quantiles_will_do(longest, share):
    """Lengths spread as those of IMDB's reviews: 234 words on average, with a standard deviation of 173."""
    lengths = np.random.default_rng(0).lognormal(np.log(188), 0.66, 50_000).astype(int)
    lengths = np.minimum(lengths, longest)
    found = widths(lengths)
    assert len(found) == 7
    assert found[-1] == lengths.max()
    assert 1 - lengths.sum() / padded(lengths, found) < share
