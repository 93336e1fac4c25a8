"""What a gradient check found: a report, and the error that carries it."""

import dataclasses
import math

VERDICTS = ("adjoint", "taylor", "differences")


@dataclasses.dataclass
class Kink:
    """A place where the derivative jumps: the two one-sided derivatives, and the one that the tape gives.

    name, index: the coordinate; index None: along a whole random direction. The numbers are derivatives of
    ∑ v·outputs for the cotangent v of the check.
    """

    name: str
    index: tuple[int, ...] | None
    left: float
    right: float
    analytic: float


@dataclasses.dataclass
class GradientReport:
    """The numbers of one check; `str(report)` is a table for people.

    function: what was checked; order: 1, or 2 for the gradient's own gradient; dtype: of the check; seed: repeats it.
    names: the inputs and variables whose gradients were checked; outputs: the outputs that depend on them.
    adjoint: for each direction |⟨v, J·u⟩ − ⟨Jᵀ·v, u⟩| against ‖Jᵀ·v∘u‖ (where that is nearly nothing, against
        √ε·‖v∘outputs‖, here and below).
    taylor: for each direction the order with which the remainder falls; infinite where it is all rounding.
    differences: for each direction |numeric − analytic| against ‖Jᵀ·v∘u‖.
    precision: for each direction the relative error that the differences could have missed.
    skipped: verdicts that could not be had, and why. kinks: where a value between one-sided derivatives was accepted.
    failed: the verdicts that failed. evaluations: how often the function was computed.
    second: the report of order 2, if that was asked for.
    """

    function: str
    order: int
    dtype: str
    seed: int
    names: list[str] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)
    adjoint: list[float] = dataclasses.field(default_factory=list)
    taylor: list[float] = dataclasses.field(default_factory=list)
    differences: list[float] = dataclasses.field(default_factory=list)
    precision: list[float] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    kinks: list[Kink] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    evaluations: int = 0
    second: "GradientReport | None" = None

    def __str__(self) -> str:
        outcome = f"failed: {', '.join(self.failed)}" if self.failed else "right"
        lines = [
            f"gradients of {self.function}, order {self.order}, {self.dtype}, seed {self.seed}: {outcome}",
            f"  with respect to {_few(self.names)}; {self.evaluations} evaluations",
        ]
        for verdict, meaning in zip(VERDICTS, ("relative error", "order", "relative error"), strict=True):
            numbers = getattr(self, verdict)
            if numbers:
                shown = ", ".join("exact" if math.isinf(number) else f"{number:.2g}" for number in numbers)
                lines.append(f"  {verdict:<12}{meaning} {shown}")
            if verdict in self.skipped:
                lines.append(f"  {verdict:<12}skipped: {self.skipped[verdict]}")
        for kink in self.kinks[:5]:
            place = kink.name if kink.index is None else f"{kink.name} at {list(kink.index)}"
            lines.append(f"  kink        {place}: {kink.analytic:g} lies between {kink.left:g} and {kink.right:g}")
        if len(self.kinks) > 5:
            lines.append(f"  kink        and {len(self.kinks) - 5} more")
        return "\n".join([*lines, *([str(self.second)] if self.second else [])])


class GradientError(AssertionError):
    """A gradient that is wrong, missing, not finite, or of a function that can't be checked.

    verdict: "adjoint", "taylor", "differences" (the first that failed; `report.failed` has all), "disconnected",
        "constant", "non_deterministic", "non_finite", "non_linear" (in the cotangent) or "kink".
    name: the input, variable or output; index: the coordinate in it, or None.
    analytic, numeric: the two derivatives of ∑ v·outputs there, or None; seed: repeats the check.
    report: the `GradientReport` as far as it came.
    """

    def __init__(self, verdict, name, why, *, report, repeat, index=None, analytic=None, numeric=None):
        self.verdict, self.name, self.index = verdict, name, index
        self.analytic, self.numeric = analytic, numeric
        self.report, self.seed = report, report.seed
        place = name if index is None else f"{name} at {list(index)}"
        order = "" if report.order == 1 else " (gradient of the gradient)"
        lines = [f"{verdict}{order}: {place}: {why}"]
        if analytic is not None:
            lines.append(f"  analytic {analytic:.12g}, numeric {numeric:.12g}")
        lines += [f"  repeat it: {repeat}", *(f"  {line}" for line in str(report).splitlines())]
        super().__init__("\n".join(lines))


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
