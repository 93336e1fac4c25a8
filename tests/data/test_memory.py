"""A source that is larger than memory trains in little of it, and opens without being read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIZE = 20 << 30
SCRIPT = """
import json, sys
import tensorflow as tf

def memory(kind):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(kind))

before = memory("RssAnon")
import numpy as np
import data, engine, optim
from layers import nets

folder = sys.argv[1]
mapped = {name: np.load(f"{folder}/train_{name}.npy", mmap_mode="r") for name in ("inputs", "labels")}
opened = memory("VmRSS")
sources = [data.load("npy", data_dir=folder, classes=10), data.Arrays(**mapped, info=data.Info("mapped", 10))]
pipelines = [data.Pipeline(source, 64, transform=data.to_float) for source in sources]
opened = memory("VmRSS") - opened
trainer = engine.Trainer(nets.mlp((28, 28, 1), 10, units=[32]), "sparse_categorical_crossentropy", optim.SGD(0.1))
for number, pipeline in enumerate(pipelines, 1):
    trainer.fit(pipeline, max_steps=10 * number)
steps = int(trainer.state.step)
anonymous, rows = memory("RssAnon") - before, [len(source) for source in sources]
print(json.dumps({"anonymous": anonymous, "opened": opened, "steps": steps, "rows": rows}))
"""


def sparse(path, shape, dtype):
    """An `.npy` file of zeros that takes no place on the disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux, which tells what memory is of")
def test_20_gigabytes_on_the_disk_train_in_300_megabytes_beside_tensorflow_s(tmp_path):
    rows = SIZE // 784
    sparse(tmp_path / "train_inputs.npy", (rows, 28, 28, 1), np.uint8)
    sparse(tmp_path / "train_labels.npy", (rows,), np.int32)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stderr
    found = json.loads(found.stdout.splitlines()[-1])
    assert (found["steps"], found["rows"]) == (20, [rows, rows])
    assert found["anonymous"] < 300 << 20
    # Of 20 GB next to nothing is read before the first batch is due.
    assert found["opened"] < 16 << 20
