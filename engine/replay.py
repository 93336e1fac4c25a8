"""A step that was not finite, once more, op by op."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from engine.files.restoring import Reader, restore
from engine.names import variable_paths
from engine.non_finite import NonFiniteReport, diagnose, first_op

_BATCH = "batch."


def replay(trainer: Any, folder: str | Path) -> tuple[NonFiniteReport, str | None]:
    """Repeats the step that `hooks.Failures` saved in `folder`: the report, and the first op that went wrong.

    trainer: made as for the run, of one replica. Its model gets the values that it had before the step. The
    step is computed eagerly under `tf.debugging.enable_check_numerics`, with the draws it had, in one piece; the op is
    None where all numbers are finite then. CheckpointError: no such folder, or of another model.
    """
    reader = Reader(Path(folder))
    model = {f"model.{path}": variable for path, variable in variable_paths(trainer.model).items()}
    restore(reader, model, ignore=[path for path in reader.shapes if not path.startswith("model.")])
    facts = reader.facts["report"]
    scale = float(reader.get("loss_scale.scale")) if "loss_scale.scale" in reader else None
    report = NonFiniteReport(facts["step"], facts["epoch"], facts["index"], facts["loss"], folder=Path(folder))
    batch = {path[len(_BATCH) :]: tf.constant(reader.get(path)) for path in reader.shapes if path.startswith(_BATCH)}
    if not batch:
        report.where = "the batch could not be saved: a stream can't be read again"
        return report, None
    seed, step = int(reader.get("seed")), int(reader.get("step"))
    compute = trainer.precision.compute
    report.where, report.values = diagnose(
        trainer.model, trainer.objective, batch, seed=seed, step=step, compute_dtype=compute, scale=scale
    )
    return report, first_op(
        trainer.model, trainer.objective, batch, seed=seed, step=step, compute_dtype=compute, scale=scale
    )
