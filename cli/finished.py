"""What is done with a finished run."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

import data
import engine
from cli import networks, pipelines, trainers, training
from cli.values import output_path
from layers import nets

FLAGS = flags.FLAGS
_WHERE = ("data_dir", "download")

flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "summary", "lr_find", "tune", "profile", "evaluate", "predict", "export", "generate"],
    "What to do. Before a run, summary: the network's layers and costs; lr_find: the loss over learning rates; tune: "
    "the fastest settings; profile: where the time of some steps goes. Of the finished run in run_dir, evaluate: its "
    "metrics, and each class's; predict: what it takes --input for; export: a SavedModel and a model file; generate: "
    "its language model goes on from the prompt.",
)
flags.DEFINE_string("input", None, "A picture, a folder of pictures, a text, or a file or folder of texts (predict).")
flags.DEFINE_integer("top", 3, "How many classes are said of each (predict).", lower_bound=1)
flags.DEFINE_string("prompt", "\n", "What a generated text begins with.")
flags.DEFINE_integer("length", 500, "Tokens to generate.", lower_bound=1)
flags.DEFINE_float("temperature", 1.0, "What logits are divided by; 0: always the likeliest token.", 0)
flags.DEFINE_integer("top_k", None, "Only the k likeliest tokens are drawn from.", lower_bound=1)
flags.DEFINE_float("top_p", 1.0, "Only the likeliest tokens that together reach this are drawn from.", 0, 1)
flags.DEFINE_string("replay", None, "Repeat, op by op, the step saved in <run>/failures/step-<number>; nothing else.")


def replay(folder: Path) -> int:
    """The step that was saved in `<run>/failures/step-<number>`, once more, with the flags of its run."""
    _take_flags(folder.parent.parent, f"--replay={folder}: expected <run>/failures/step-<number>")
    report, op = engine.replay(trainers.make_trainer(pipelines.make_pipelines()[0], None)[0], folder)
    print(report)
    print(f"first op: {op or 'none: computed in one piece, all numbers are finite'}")
    return 0


def evaluate() -> int:
    """Loss and metrics of a finished run's final model, and how it does on each class; as `evaluation.json`, too."""
    folder = _run("evaluate")
    pipeline, validation, test = pipelines.make_pipelines()
    trainer = trainers.make_trainer(pipeline, None)[0]
    engine.restore(trainer.model, folder / "checkpoints" / "model")
    found: dict[str, Any] = {
        name: trainer.evaluate(split) for name, split in (("validation", validation), ("test", test)) if split
    }
    for name, values in found.items():
        print(f"{name:10}  " + "  ".join(f"{metric} {value:.4f}" for metric, value in values.items()))
    classes = pipeline.info.classes
    if classes and not networks.is_language_model():
        matrix = _confusion(trainer, test, classes)
        names = pipeline.info.class_names or [str(number) for number in range(classes)]
        found["confusion"], found["classes"] = matrix.tolist(), list(names)
        print(_per_class(matrix, names))
    path = folder / "evaluation.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {path}")
    return 0


def _confusion(trainer: engine.Trainer, pipeline: data.Pipeline, classes: int) -> np.ndarray:
    """How many examples of each class (rows) were taken for which (columns)."""
    labels = np.concatenate([batch["labels"].numpy() for batch in pipeline.evaluation()])
    labels = labels.argmax(-1) if labels.ndim > 1 else labels
    matrix = np.zeros([classes, classes], int)
    np.add.at(matrix, (labels, trainer.predict(pipeline).argmax(-1)), 1)
    return matrix


def _per_class(matrix: np.ndarray, names: Sequence[str]) -> str:
    """Precision and recall of each class, and what it is taken for most."""
    width = max(map(len, names))
    lines = [f"{'class':{width}}  examples  precision  recall  most often taken for"]
    for number, name in enumerate(names):
        right, of, taken = matrix[number, number], matrix[number].sum(), matrix[:, number].sum()
        wrong = np.where(np.arange(len(names)) == number, 0, matrix[number])
        other = f"{names[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else ""
        shares = (f"{right / whole:.3f}" if whole else "-" for whole in (taken, of))
        precision, recall = shares
        lines.append(f"{name:{width}}  {of:8}  {precision:>9}  {recall:>6}  {other}".rstrip())
    return "\n".join(lines)


def predict() -> int:
    """What a finished run's final model takes a person's own pictures or texts for."""
    if not FLAGS.input:
        raise ValueError("--mode=predict needs --input, a picture, a folder of pictures, a text, or a file of texts")
    path = output_path("predictions are written", ".csv", ".json")
    given, top, folder = FLAGS.input, FLAGS.top, _run("predict")
    if networks.is_language_model():
        raise ValueError(f"--mode=predict needs a classifier: {FLAGS.model} goes on with texts, by --mode=generate")
    pipeline = pipelines.make_pipelines()[0]
    trainer = trainers.make_trainer(pipeline, None)[0]
    engine.restore(trainer.model, folder / "checkpoints" / "model")
    if FLAGS.model in networks.MODELS:
        if pipelines.as_floats(pipeline.source) is None:
            raise ValueError(f"--mode=predict reads pictures and texts, and {FLAGS.dataset} has numbers of its own")
        source = read = data.OwnPictures(given, pipeline.info.input_shape)
        transform = data.to_float
    else:
        source, transform = data.OwnTexts(given), None
        read = data.text.tokens(source, pipelines.make_tokenizer(pipelines.splits()[0]), max_length=FLAGS.max_length)
    for name, reason in source.unreadable:
        print(f"train.py: {name} can't be read and is left out: {reason}", file=sys.stderr)
    outputs = trainer.predict(data.Pipeline(read, min(64, len(read)), shuffle=False, transform=transform))
    found = engine.predictions(outputs, source.items, pipeline.info.class_names, min(top, outputs.shape[-1]))
    print(found)
    if path:
        path.write_text(found.csv() if path.suffix == ".csv" else found.json())
        print(f"wrote {path}")
    return 0


def export() -> int:
    """The final model of a run as `export/`, a SavedModel, and as `model.h5`.

    The former takes pictures and numbers as the data set has them. Of texts it takes token ids, and the vocabulary that
    makes these is written as well.
    """
    folder = _run("export")
    pipeline = pipelines.make_pipelines()[0]
    model, info = networks.make_model(pipeline.info), pipeline.info
    engine.restore(model, folder / "checkpoints" / "model")
    notes = {"dataset": info.name, "classes": list(info.class_names)}
    first, of_texts = pipelines.first_of(pipeline.source, 8)["inputs"], FLAGS.model not in networks.MODELS
    as_floats = None if of_texts else pipelines.as_floats(pipeline.source)
    exported = engine.export(
        model,
        folder / "export",
        tf.TensorSpec([None, *info.input_shape], first.dtype),
        example=first,
        preprocess=_to_float if as_floats else None,
    )
    whole = engine.save_model(model, folder / "model.h5", training=notes)
    written = f"{exported} (a SavedModel, compared with the model) and {whole}"
    if of_texts and FLAGS.dataset != "char_text":
        # The classes of char_text are its characters, which the model file knows.
        pipelines.make_tokenizer(pipelines.splits()[0]).save(folder / "vocabulary.txt")
        written += f", and what makes its token ids, {folder / 'vocabulary.txt'}"
    print(written)
    return 0


def generate() -> int:
    """The final language model of a run goes on from the prompt; the text is printed."""
    seed = FLAGS.seed
    folder = _run("generate", also=["seed"])
    if not networks.is_language_model():
        raise ValueError(
            f"--mode=generate needs a run of --model={' or '.join(networks.LANGUAGE_MODELS)}, not {FLAGS.model}"
        )
    pipeline, tokenizer = pipelines.make_pipelines()[0], pipelines.make_tokenizer(pipelines.splits()[0])
    model = networks.make_model(pipeline.info)
    engine.restore(model, folder / "checkpoints" / "model")
    options = {"temperature": FLAGS.temperature, "top_k": FLAGS.top_k, "top_p": FLAGS.top_p, "seed": seed}
    prompt = tokenizer.encode(FLAGS.prompt)
    if not len(prompt):
        raise ValueError(f"--prompt={FLAGS.prompt!r} has no token of --tokenizer={FLAGS.tokenizer}: begin with a word")
    found = nets.generate(model, prompt[np.newaxis], FLAGS.length, **options)[0].numpy()
    print(tokenizer.decode(np.concatenate([prompt, found])).decode(errors="replace"))
    return 0


def _to_float(inputs: tf.Tensor) -> tf.Tensor:
    return data.to_float({"inputs": inputs})["inputs"]


def _run(mode: str, also: Sequence[str] = ()) -> Path:
    """The folder of the finished run that a mode is about, once its flags are taken; also: see `_take_flags`."""
    if not FLAGS.run_dir:
        raise ValueError(f"--mode={mode} needs --run_dir, the folder of a finished run")
    folder = Path(FLAGS.run_dir)
    _take_flags(folder, f"--run_dir={folder}: expected a finished run", also)
    if not (folder / "checkpoints" / "model").is_dir():
        raise ValueError(f"--run_dir={folder}: the run is not finished: start it again with the same flags to go on")
    return folder


def _take_flags(run_dir: Path, expected: str, also: Sequence[str] = ()) -> None:
    """The flags of a run take the place of this command's; on one device, as they change no numbers there.

    Where the data are may be said anew. ValueError: another flag is given that is not as it was, but for those that
    change nothing in a run that is over, and `also`.
    """
    flagfile = run_dir / "flags.cfg"
    if not flagfile.is_file():
        raise ValueError(f"{expected}, but {flagfile} is not there")
    given = training.given()
    for name in given:
        FLAGS[name].unparse()
    try:
        # What the run began with is in its weights by now.
        FLAGS([sys.argv[0], f"--flagfile={flagfile}", "--nojit_compile", "--pretrained="])
    except flags.Error as error:
        raise ValueError(f"{flagfile}: {error}") from None
    for name, value in given.items():
        if name in _WHERE:
            FLAGS[name].value = value
        elif value != FLAGS[name].value and name not in (*training.MAY_CHANGE, "pretrained", *also):
            raise ValueError(f"--{name}: a finished run has its own; --{' and --'.join(_WHERE)} may be others")
