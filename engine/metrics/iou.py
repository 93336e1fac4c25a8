"""How well regions are met: intersections over unions."""

from collections.abc import Sequence

import numpy as np

from engine.metrics.metric import ratio
from engine.metrics.scores import ClassScores


class IoU(ClassScores):
    """The mean over classes of |label ∩ prediction| / |label ∪ prediction|; classes that are in neither are left out.

    num_classes, labels, outputs: those of `ClassScores`, of which the largest output is predicted; pixels are examples
    like any others. target_class_ids: the classes that count. 0 if none of them is there.
    """

    def __init__(self, num_classes: int, target_class_ids: Sequence[int]):
        super().__init__(num_classes)
        self.target_class_ids = list(target_class_ids)
        if not self.target_class_ids or not set(self.target_class_ids) <= set(range(num_classes)):
            raise ValueError(
                f"{type(self).__name__}: target_class_ids must be some of 0 to {num_classes - 1}, "
                f"found {self.target_class_ids}"
            )

    def result(self, sums: np.ndarray) -> float:
        """The mean over the target classes that are there."""
        both, predicted, there = sums[:, self.target_class_ids]
        present = predicted + there != 0
        return float(np.mean(self.score(both, predicted, there)[present])) if present.any() else 0.0

    def score(self, both: np.ndarray, predicted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """both / (predicted + there − both)."""
        return ratio(both, predicted + there - both)


class MeanIoU(IoU):
    """The `IoU` of all classes."""

    def __init__(self, num_classes: int):
        super().__init__(num_classes, range(num_classes))
