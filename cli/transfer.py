"""What it has learned before: transfer learning."""

import dataclasses
import time
from pathlib import Path

import tensorflow as tf
from absl import flags

import data
import engine
from data import download
from layers import nets

FLAGS = flags.FLAGS
_PLACE = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# By the sum that Keras itself checks.
PUBLISHED = {
    "resnet50": download.Remote(
        f"{_PLACE}resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        94765736,
        "4d473c1dd8becc155b73f8504c6f6626",
        "md5",
    )
}

flags.DEFINE_string(
    "pretrained",
    None,
    "Where the backbone's weights come from: a model or a run of this program, a file that Keras published (resnet50 "
    "to resnet152), or imagenet, which is the published file of resnet50 (--download).",
)
flags.DEFINE_list("freeze", [], "Parts of the network that stay as they are, such as backbone.")
flags.DEFINE_string("unfreeze_from", None, "The first child of the frozen part that is thawed, such as stage4.")
flags.DEFINE_integer("unfreeze_epoch", None, "After how many epochs it is thawed.", lower_bound=1)
flags.DEFINE_float("unfreeze_rate", 0.1, "The learning rate of what is thawed, as a share of the others'.", 0)
flags.DEFINE_boolean(
    "cache_features",
    None,
    "Compute what a frozen backbone makes of each picture once, and train on that. Unless given: where the backbone is "
    "frozen and nothing is augmented.",
)


def load_pretrained(model: tf.Module) -> None:
    """Sets the backbone from --pretrained."""
    if not isinstance(model, nets.Classifier):
        raise ValueError(f"--pretrained needs a --model with a backbone, such as resnet50, not {FLAGS.model}")
    path = _published() if FLAGS.pretrained == "imagenet" else Path(FLAGS.pretrained)
    if path.is_file() and not engine.is_model_file(path):
        if not isinstance(model.backbone, nets.ResNet) or FLAGS.model not in ("resnet50", "resnet101", "resnet152"):
            raise ValueError(f"{path} is of Keras' applications: it needs --model=resnet50, resnet101 or resnet152")
        nets.load_resnet(model.backbone, path)
    else:
        engine.restore(model, path, only="backbone.*")


def _published() -> Path:
    """The file of ImageNet weights that Keras publishes for the model, from the cache or fetched into it."""
    if FLAGS.model not in PUBLISHED:
        raise ValueError(f"--pretrained=imagenet is for --model={' or '.join(PUBLISHED)}; for others give a file")
    remote, name = PUBLISHED[FLAGS.model], f"{FLAGS.model}_imagenet"
    found = download.cached(name)
    if found is None:
        if not FLAGS.download:
            raise ValueError(f"--pretrained=imagenet: {remote.name} is not in the cache; --download fetches it")
        instead = f"get {remote.name} and pass it as --pretrained"
        found = download.obtain(name, [remote], lambda paths: {remote.name: paths[0].read_bytes()}, instead)
    return found / remote.name


def frozen_parts(model: tf.Module) -> dict[str, tf.Module]:
    """What --freeze names, by name."""
    paths = engine.names.module_paths(model)
    for name in FLAGS.freeze:
        if name not in paths or not name:
            known = ", ".join(path for path in paths if path and not any(above in paths for above in _above(path)))
            raise ValueError(f"--freeze={name}: the network has no such part; it has {known}")
    return {name: paths[name] for name in FLAGS.freeze}


def _above(path: str) -> list[str]:
    """What a path begins with: layers and layers.1 of layers.1.conv; of a part in a list, layers is no part."""
    names = path.split(".")
    return [".".join(names[:count]) for count in range(1, len(names))]


def freeze(model: tf.Module) -> None:
    """Freezes what --freeze names."""
    for part in frozen_parts(model).values():
        engine.freeze(part)
    if not FLAGS.unfreeze_from and FLAGS.unfreeze_epoch:
        raise ValueError("--unfreeze_epoch needs --unfreeze_from, such as stage4")
    if FLAGS.unfreeze_from:
        if len(FLAGS.freeze) != 1 or FLAGS.unfreeze_epoch is None:
            raise ValueError("--unfreeze_from needs --unfreeze_epoch, and --freeze with one part, such as backbone")
        _children(model)


def _children(model: tf.Module) -> tuple[tf.Module, list[tf.Module]]:
    """The frozen part, and those of its children that come before --unfreeze_from."""
    ((name, part),) = frozen_parts(model).items()
    children = {path: module for path, module in engine.names.module_paths(part).items() if path and "." not in path}
    if FLAGS.unfreeze_from not in children:
        raise ValueError(
            f"--unfreeze_from={FLAGS.unfreeze_from}: {name} has no such part; it has {', '.join(children)}"
        )
    names = list(children)
    return part, [children[before] for before in names[: names.index(FLAGS.unfreeze_from)]]


def thawed_pattern() -> str | None:
    """The pattern of the variables that learn at a lower rate, or None."""
    return f"{FLAGS.freeze[0]}.*" if FLAGS.unfreeze_from else None


def caches(pipeline: data.Pipeline) -> bool:
    """Whether training reads features instead of pictures while the backbone is frozen."""
    possible = "backbone" in FLAGS.freeze and not FLAGS.augment and not pipeline.saves_iterator
    if FLAGS.cache_features and not possible:
        raise ValueError(
            "--cache_features needs --freeze=backbone, no stream, and no --augment, which changes pictures"
        )
    return possible if FLAGS.cache_features is None else FLAGS.cache_features


def featured(model: tf.Module, pipeline: data.Pipeline, *, training: bool, weights: dict | None) -> data.Pipeline:
    """A pipeline of what the frozen backbone makes of each of a pipeline's pictures, computed here."""
    begun, source = time.perf_counter(), pipeline.source
    # A balanced view holds other pictures in every epoch; they are all of its source.
    source = source.source if training and FLAGS.balanced else source
    once = data.Pipeline(source, pipeline.batch_size, shuffle=False, transform=data.to_float, weights=weights)
    found = engine.features(model, once, precision=FLAGS.precision)
    info = dataclasses.replace(pipeline.info, name=f"features of {pipeline.info.name}")
    kept = data.Arrays(found["inputs"], found["labels"], found.get("weights"), info=info)
    seconds = time.perf_counter() - begun
    print(f"{len(kept):,} pictures through the frozen backbone once, in {seconds:.1f} s", flush=True)
    kept = data.balanced(kept, seed=FLAGS.seed) if training and FLAGS.balanced else kept
    return data.Pipeline(kept, pipeline.batch_size, shuffle=training, transform=_as_features)


def _as_features(batch: dict) -> dict:
    return {**batch, "inputs": {"features": batch["inputs"]}}


def thaw_hooks(model: tf.Module, train: data.Pipeline, validation: data.Pipeline | None) -> list[engine.hooks.Hook]:
    """The hook that thaws, and goes back to pictures, if there is one to be."""
    if not FLAGS.unfreeze_from:
        return []
    part, keep = _children(model)
    return [engine.hooks.Thaw([part], FLAGS.unfreeze_epoch, keep=keep, train=train, validation=validation)]
