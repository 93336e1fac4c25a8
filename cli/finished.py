"""What is done with a finished run."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

import data
import engine
from cli import networks, pipelines, trainers
from layers import nets

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "export", "generate"],
    "export: the finished run in run_dir becomes a SavedModel. generate: its language model goes on from the prompt.",
)
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


def export() -> int:
    """The final model of a run as `export/`, a SavedModel that takes the data set's own inputs, and as `model.h5`."""
    if not FLAGS.run_dir:
        raise ValueError("--mode=export needs --run_dir, the folder of a finished run")
    folder = Path(FLAGS.run_dir)
    _take_flags(folder, f"--run_dir={folder}: expected a finished run")
    pipeline = pipelines.make_pipelines()[0]
    model, info = networks.make_model(pipeline.info), pipeline.info
    engine.restore(model, folder / "checkpoints" / "model")
    notes = {"dataset": info.name, "classes": list(info.class_names)}
    first = pipeline.source[np.arange(min(8, len(pipeline.source)))]["inputs"]
    exported = engine.export(
        model,
        folder / "export",
        tf.TensorSpec([None, *info.input_shape], first.dtype),
        example=first,
        preprocess=(lambda inputs: data.to_float({"inputs": inputs})["inputs"])
        if FLAGS.model in networks.MODELS
        else None,
    )
    whole = engine.save_model(model, folder / "model.h5", training=notes)
    print(f"{exported} (a SavedModel, compared with the model) and {whole}")
    return 0


def generate() -> int:
    """The final language model of a run goes on from the prompt; the text is printed."""
    if not FLAGS.run_dir:
        raise ValueError("--mode=generate needs --run_dir, the folder of a finished run")
    folder, seed = Path(FLAGS.run_dir), FLAGS.seed
    _take_flags(folder, f"--run_dir={folder}: expected a finished run")
    if not networks.is_language_model():
        raise ValueError(
            f"--mode=generate needs a run of --model={' or '.join(networks.LANGUAGE_MODELS)}, not {FLAGS.model}"
        )
    pipeline, tokenizer = pipelines.make_pipelines()[0], pipelines.make_tokenizer(pipelines.load("train"))
    model = networks.make_model(pipeline.info)
    engine.restore(model, folder / "checkpoints" / "model")
    options = {"temperature": FLAGS.temperature, "top_k": FLAGS.top_k, "top_p": FLAGS.top_p, "seed": seed}
    prompt = tokenizer.encode(FLAGS.prompt)
    found = nets.generate(model, prompt[np.newaxis], FLAGS.length, **options)[0].numpy()
    print(tokenizer.decode(np.concatenate([prompt, found])).decode(errors="replace"))
    return 0


def _to_float(inputs: tf.Tensor) -> tf.Tensor:
    return data.to_float({"inputs": inputs})["inputs"]


def _take_flags(run_dir: Path, expected: str) -> None:
    """The flags of a run take the place of this command's; on one device, as they change no numbers there."""
    flagfile = run_dir / "flags.cfg"
    if not flagfile.is_file():
        raise ValueError(f"{expected}, but {flagfile} is not there")
    FLAGS([sys.argv[0], f"--flagfile={flagfile}", "--nojit_compile"])
