"""What a fit leaves behind: one record a loop and evaluation, and the loss of every single step."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class History:
    """The record of a fit.

    records: dicts in the order they came, each with `split`, `step`, `epoch`, `loss`, `data_loss`, the metrics and,
    for training, `learning_rate` and `empty_steps` (updates left out because nothing weighed).
    steps: arrays over the steps of this fit: `step`, `loss`, `data_loss`, `learning_rate` and the metrics.
    The other fields are those of `result.json`.
    """

    records: list[dict] = dataclasses.field(default_factory=list)
    steps: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    train: dict[str, float] = dataclasses.field(default_factory=dict)
    stopped_by: str | None = None
    signal: int | None = None
    resumed_from: int | None = None
    examples_per_second: float | None = None
    time_to_first_step_s: float | None = None
    wall_s: float = 0.0
    traces: int = 0

    def values(self, name: str, split: str = "train") -> list[float]:
        """One value of every record of a split, such as `values("accuracy", "validation")`."""
        return [record[name] for record in self.records if record["split"] == split]

    def add_steps(self, first: int, columns: dict[str, list[float]]) -> None:
        """Appends per-step values; `first` is the number of the first step."""
        count = len(next(iter(columns.values())))
        columns = {"step": np.arange(first, first + count), **columns}
        self.steps = {
            name: np.concatenate([self.steps[name], values]) if name in self.steps else np.asarray(values)
            for name, values in columns.items()
        }
