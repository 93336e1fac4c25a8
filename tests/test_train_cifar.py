"""The flagfiles for CIFAR-10 train their networks, here on a handful of pictures."""

import numpy as np
import pytest
from commands import ROOT, finish, result, start


@pytest.mark.parametrize(
    ("config", "parameters"),
    [("cifar10_resnet20", 269_722 + 1_376), ("cifar10_fast", 4_608_312), ("cifar10_fast_float32", 1_114_200)],
)
def test_a_flagfile_trains_its_network_and_stops(tmp_path, config, parameters):
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 10)):
        pictures = random.integers(0, 256, [count, 32, 32, 3]).astype(np.uint8)
        np.savez(tmp_path / f"{split}.npz", inputs=pictures, labels=np.arange(count, dtype=np.int32) % 10)
    data = [f"--flagfile={ROOT / 'configs' / config}.cfg", "--dataset=npz", "--classes=10", f"--data_dir={tmp_path}"]
    finish(start(tmp_path / "run", *data, "--batch_size=9", "--max_steps=3", "--notensorboard"))
    found = result(tmp_path / "run")
    assert found["steps"] == 3
    assert np.isfinite(found["train"]["loss"])
    assert set(found["test"]) == {"loss", "data_loss", "accuracy"}
    assert found["parameters"] == parameters
