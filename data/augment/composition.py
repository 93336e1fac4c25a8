"""Several augmentations, one after the other."""

from data.marks import by_example, is_by_example


def compose(*augments):
    """Apply `augments` one after the other, each with draws of its own; transforms (`data.to_float`) may be among them.

    The result needs the whole batch, or has soft labels, if one of them does.
    """

    def composed(batch, draws=None):
        for augment in augments:
            batch = augment(batch, draws)
        return batch

    composed.whole_batch = any(getattr(augment, "whole_batch", False) for augment in augments)
    composed.soft_labels = any(getattr(augment, "soft_labels", False) for augment in augments)
    return by_example(composed) if all(map(is_by_example, augments)) else composed
