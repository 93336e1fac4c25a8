"""What TensorBoard shows of a run."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import absl.logging
import numpy as np
import tensorflow as tf

from engine.evaluation import prediction_step
from engine.files.errors import reason
from engine.files.events import cut_back
from engine.hooks.hook import Hook
from engine.names import variable_paths
from engine.pictures import confusion_picture, sample_grid
from engine.predictions import probabilities
from engine.step_graph import step_graph

_BUCKETS = 30
# What tells TensorBoard's plugin that a tensor is a histogram.
_HISTOGRAM = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="histograms"), data_class=2
)


class TensorBoard(Hook):
    """Writes each loop's and each evaluation's values, the learning rate, and the norms of gradients, parameters and
    updates at the loop's last step, as scalars over steps; and at each epoch's end what the options say.

    histograms: of every variable of the model.
    samples: how many examples are shown as a grid of images, below each the likeliest class with its probability, and
        the true one where it is another: the first of the validation pipeline, or of training in the order of the
        source. Of images `[height, width, 1 or 3]` labelled with class numbers or rows over classes. 0: none.
    confusion: of how many of those examples a confusion matrix is drawn, the first. 0: none.
    graph: the graph of a training step, once: operations stand within the layers that make them. For one replica.

    Labels and probabilities are those of a classifier, `model(inputs)` logits `[batch, classes]`, with the averages of
    the weights if there are any; of other models, and on several machines, nothing of that is written.
    Histograms cost a pass over the weights, pictures the inference of so many examples, the graph one more trace.
    On resume the files are cut back to the checkpoint's step, so that no step is shown twice; a run that begins at step
    0 begins them anew. A disk that is full, or another reason why they can't be written, is no reason to stop training.

    Look at them with `tensorboard --logdir <directory>`; training and validation are two runs there. With the folder
    that holds several runs, they are compared.
    """

    norms = True
    chief_only = True

    def __init__(
        self,
        directory: str | Path,
        *,
        histograms: bool = True,
        samples: int = 16,
        confusion: int = 1000,
        graph: bool = True,
        name: str = "tensorboard",
    ):
        super().__init__(name)
        if min(samples, confusion) < 0:
            raise ValueError(f"samples and confusion must be at least 0, got {samples} and {confusion}")
        self.directory = Path(directory)
        self.histograms, self.samples, self.confusion, self.graph = histograms, samples, confusion, graph
        self._writers: dict[str, Any] = {}
        self._broken = self._graph_due = False
        self._predict: Callable | None = None

    def on_fit_begin(self, run: Any) -> None:
        """Keeps what was written up to the step that the run goes on from."""
        self._broken, self._predict = False, None
        one = run.trainer.replicas.count == 1
        self._graph_due = self.graph and one and not any(self.directory.glob("train/events.*"))
        for folder in self.directory.glob("*/"):
            cut_back(folder, functools.partial(run.told, split=folder.name))

    def on_rollback(self, run: Any) -> None:
        """As when a run is resumed."""
        self.close()
        self.on_fit_begin(run)

    def on_loop_end(self, run: Any, record: dict) -> None:
        """Writes training values and norms."""
        self._write(record, lambda: _scalars({**record, **{f"norms/{k}": v for k, v in run.last_norms.items()}}))

    def on_evaluate_end(self, run: Any, record: dict) -> None:
        """Writes validation values."""
        self._write(record, lambda: _scalars(record))

    def on_epoch_end(self, run: Any, record: dict) -> None:
        """Writes histograms and pictures."""
        if self.histograms:
            self._write(record, lambda: _histograms(run.trainer.model))
        if (self.samples or self.confusion) and run.trainer.replicas.workers == 1:
            split = "train" if run.validation is None else "validation"
            self._write({**record, "split": split}, lambda: self._pictures(run))

    def on_boundary(self, run: Any) -> None:
        """What was written can be seen."""
        if self._graph_due:
            self._graph_due = False
            spec = run.train.training(run.trainer.seed).element_spec
            self._write({"split": "train", "step": run.step}, lambda: tf.summary.graph(step_graph(run.trainer, spec)))
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, record: dict, add: Callable[[], Any]) -> None:
        if self._broken:
            return
        split = record["split"]
        try:
            if split not in self._writers:
                self._writers[split] = tf.summary.create_file_writer(str(self.directory / split))
            with self._writers[split].as_default(step=record["step"]):
                add()
        except tf.errors.OpError as error:
            absl.logging.error("nothing more is written to %s: %s", self.directory, reason(error))
            self._broken = True

    def _pictures(self, run: Any) -> None:
        pipeline = run.validation or run.train
        info, trainer = getattr(pipeline, "info", None), run.trainer
        if not getattr(info, "classes", None):
            return
        if self._predict is None:
            self._predict = prediction_step(trainer.model, compute_dtype=trainer.precision.compute)
        names = info.class_names or tuple(map(str, range(info.classes)))
        with trainer.averaged():
            found = self._classified(pipeline, info.classes)
        if found is None:
            return
        inputs, labels, shares = found
        if self.samples and inputs.ndim == 4 and inputs.shape[-1] in (1, 3):
            count = len(inputs)
            tf.summary.image("samples", sample_grid(inputs, labels[:count], shares[:count], names)[np.newaxis])
        if self.confusion:
            matrix = np.zeros([info.classes] * 2)
            np.add.at(matrix, (labels[: self.confusion], shares[: self.confusion].argmax(-1)), 1)
            tf.summary.image("confusion", confusion_picture(matrix, names)[np.newaxis])

    def _classified(self, pipeline: Any, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The inputs of the first samples, and labels and probabilities of all that are wanted, of a classifier.

        Examples whose label is no class (such as -1 for none) are passed over.
        """
        found: list[list] = [[], [], []]
        wanted, done = max(self.samples, self.confusion), 0
        for batch in pipeline.evaluation():
            if "inputs" not in batch or "labels" not in batch:
                return None
            outputs, labels = self._predict(batch), batch["labels"].numpy()
            labels = labels.argmax(-1) if labels.ndim == 2 and labels.shape[1] == classes else labels
            logits = isinstance(outputs, tf.Tensor) and outputs.shape[1:] == [classes]
            if not logits or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
                return None
            legal = np.flatnonzero((labels >= 0) & (labels < classes))
            shown = legal[: max(0, self.samples - done)]
            # Of inputs that are several tensors, such as features, nothing can be shown.
            images = batch["inputs"] if tf.is_tensor(batch["inputs"]) else tf.zeros([len(labels)])
            found[0].append(tf.gather(images, shown).numpy())
            found[1].append(labels[legal])
            found[2].append(probabilities(outputs.numpy())[legal])
            done += len(legal)
            if done >= wanted:
                break
        images, labels, shares = (np.concatenate(parts) for parts in found)
        return images, labels, shares


def _scalars(values: dict) -> None:
    for name, value in values.items():
        if name not in ("split", "step"):
            tf.summary.scalar(name, value)


def _histograms(model: tf.Module) -> None:
    for path, variable in variable_paths(model).items():
        if variable.dtype.is_floating and variable.shape.num_elements():
            tf.summary.write(f"weights/{path}", _histogram(variable.numpy()), metadata=_HISTOGRAM)


def _histogram(values: np.ndarray) -> np.ndarray:
    """float64 `[30, 3]`: where each bucket begins and ends, and how many values are in it; what is not finite in none.

    tf.summary.histogram takes some fifty operations a variable for that.
    """
    flat = values.ravel().astype(np.float64)
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 0.0)
    if low == high:
        # As TensorBoard does with one value: all are in the middle bucket of a unit around it.
        low, high = low - 0.5, high + 0.5
    places = np.minimum((flat - low) * (_BUCKETS / (high - low)), _BUCKETS - 1).astype(np.int64)
    edges = np.linspace(low, high, _BUCKETS + 1)
    return np.stack([edges[:-1], edges[1:], np.bincount(places, minlength=_BUCKETS)], axis=1)
