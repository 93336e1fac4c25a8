"""Runs that earlier versions began: this version restores their models and goes on with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_run import fitted
from parts import mlp

import engine

RUNS = sorted((Path(__file__).parent / "golden_runs").iterdir())


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_model_is_restored_from_the_run_of_every_version_before(folder):
    expected, model = json.loads((folder / "expected.json").read_text()), mlp(seed=9)
    engine.restore(model, folder)
    assert engine.weights_sha256(model) == expected["weights_sha256"]
    engine.restore(model, folder / "latest", averaged=True)
    assert engine.weights_sha256(model) == expected["averaged_sha256"]


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_the_run_of_every_version_before_goes_on(folder, tmp_path):
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    _, history = fitted(tmp_path, 22)
    assert history.resumed_from == 10
    # float32 on a processor that adds up in another order.
    np.testing.assert_allclose(
        history.steps["loss"], json.loads((folder / "expected.json").read_text())["losses"], rtol=1e-4
    )
