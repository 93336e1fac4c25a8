"""What a fit leaves behind: one record a loop and evaluation, and the loss of every single step."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass
class History:
    """The record of a fit.

    records: dicts in the order they came, each with `split`, `step`, `epoch`, `loss`, `data_loss`, the metrics and,
    for training, `learning_rate` and `empty_steps` (updates left out because nothing weighed).
    signal: the number of a signal that came to this process during the fit, after its last step, too.
    The other fields are those of `result.json`.
    """

    records: list[dict] = dataclasses.field(default_factory=list)
    train: dict[str, float] = dataclasses.field(default_factory=dict)
    stopped_by: str | None = None
    signal: int | None = None
    resumed_from: int | None = None
    examples_per_second: float | None = None
    time_to_first_step_s: float | None = None
    wall_s: float = 0.0
    traces: int = 0
    _parts: list[dict] = dataclasses.field(default_factory=list, repr=False)

    def values(self, name: str, split: str = "train") -> list[float]:
        """One value of every record of a split, such as `values("accuracy", "validation")`."""
        return [record[name] for record in self.records if record["split"] == split]

    def add_steps(self, first: int, steps: list[dict[str, float]]) -> None:
        """Appends the values of consecutive steps; `first` is the number of the first."""
        numbers = np.arange(first, first + len(steps))
        self._parts.append({"step": numbers, **{name: np.array([step[name] for step in steps]) for name in steps[0]}})

    def cut(self, run: Any) -> None:
        """Forgets what a run that went back will tell again, as `Run.told` has it."""
        self.records[:] = [record for record in self.records if run.told(record["step"], record["split"])]
        if self.steps:
            kept = self.steps["step"] <= run.step
            self._parts[:] = [{name: values[kept] for name, values in self.steps.items()}] if kept.any() else []

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """Arrays over the steps of this fit: `step`, `learning_rate`, `loss`, `data_loss` and the metrics."""
        if len(self._parts) > 1:
            # Joined when somebody looks, not at each loop: a long run has many.
            joined = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
            self._parts[:] = [joined]
        return self._parts[0] if self._parts else {}
