"""The run whose checkpoints in `golden_runs/` every later version must take up.

python tests/engine/golden_run.py <folder>, in the version whose checkpoint is wanted, made what is there.
"""

import json
import shutil
import sys
from pathlib import Path

from parts import classified, mlp

import data
import engine
import optim


def fitted(folder, steps):
    """Trainer and history after `steps` steps of epochs of eight, resumed from what is in the folder."""
    model, schedule = mlp(dropout=0.5), optim.schedules.Scale(optim.schedules.warmup_cosine(0.02, 3, 40))
    made = engine.Trainer(
        model,
        "sparse_categorical_crossentropy",
        optim.chain(optim.clip_by_global_norm(1.0), optim.AdamW(schedule)),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
        seed=3,
        average=optim.EMA(0.9),
        loss_scaling="dynamic",
    )
    hooks = [
        engine.hooks.Checkpoint(folder / "checkpoints"),
        engine.hooks.EarlyStopping("train.loss", patience=9, restore_best=False),
        engine.hooks.ReduceOnPlateau(schedule, "train.loss", patience=0, min_delta=9.0),
    ]
    return made, made.fit(data.Pipeline(classified(), 7), max_steps=steps, hooks=hooks)


def main(folder):
    """Ten steps, saved; and the losses of the twelve that followed."""
    made, _ = fitted(folder, 10)
    with made.averaged():
        averaged = engine.weights_sha256(made.model)
    engine.restore(made.model, folder / "checkpoints" / "step-00000010")
    expected = {"weights_sha256": engine.weights_sha256(made.model), "averaged_sha256": averaged}
    shutil.copytree(folder, folder / "later")
    _, history = fitted(folder / "later", 22)
    expected["losses"] = [float(loss) for loss in history.steps["loss"]]
    shutil.rmtree(folder / "later")
    shutil.rmtree(folder / "checkpoints" / "step-00000008")
    (folder / "checkpoints" / ".lock").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
