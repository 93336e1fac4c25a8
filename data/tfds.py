"""TensorFlow Datasets by name (extra `tfds`): random access where a data set is prepared so, a stream where not."""

import numpy as np
import tensorflow as tf

from data.numpy_files import check_finite
from data.sources import Info, check_labels, texts
from data.tfrecord import checked


class Gathered:
    """A source over a data set prepared for random access: `inputs` and `labels` by the data set's own keys.

    Strings are `bytes`; all else is stacked. Raises ValueError naming the data set and the row for examples of
    different shapes, labels outside the classes, or floats that are not finite.
    """

    arrays = None

    def __init__(self, examples, keys, info):
        self._examples, self._keys, self.info = examples, keys, info

    def __len__(self):
        return len(self._examples)

    def __getitem__(self, indices):
        indices = np.asarray(indices).tolist()
        found = self._examples.__getitems__(indices)
        rows = {name: self._stacked([row[key] for row in found], indices) for name, key in self._keys.items()}
        check_labels(rows, self.info, indices)
        for array in rows.values():
            check_finite(array, self.info.name, indices)
        return rows

    def _stacked(self, values, indices):
        if isinstance(values[0], bytes):
            return texts(values)
        for row, value in zip(indices, values, strict=True):
            if np.shape(value) != np.shape(values[0]):
                shapes = f"row {indices[0]} has shape {np.shape(values[0])}, row {row} has {np.shape(value)}"
                raise ValueError(f"{self.info.name}: {shapes}: rows of one shape can be gathered")
        return np.stack(values)


class Stream:
    """A stream of a data set prepared as TFRecords: `inputs` and `labels` by the data set's own keys.

    A label outside the classes and a float that is not finite stop it with a `tf.errors.InvalidArgumentError`.
    """

    arrays = None
    length = None

    def __init__(self, builder, split, keys, info):
        self._builder, self._split, self._keys, self.info = builder, split, keys, info
        self.examples = builder.info.splits[split].num_examples

    def dataset(self, shard=None):
        """Single examples, dicts of tensors, in the order of the files; `shard`, (number, count), is by examples."""
        import tensorflow_datasets

        # Its cache would keep a small data set in memory, and in every saved iterator.
        config = tensorflow_datasets.ReadConfig(try_autocache=False)
        examples = self._builder.as_dataset(split=self._split, shuffle_files=False, read_config=config)
        if shard:
            number, count = shard
            examples = examples.shard(count, number)
        return examples.map(
            tf.autograph.experimental.do_not_convert(
                lambda example: checked({name: example[key] for name, key in self._keys.items()}, self.info)
            )
        )


def load(name, split, data_dir, fetch, inputs=None, labels=None):
    """The data set `name` of TensorFlow Datasets, a `Gathered` or a `Stream`, from its own `data_dir`.

    `inputs` and `labels` are keys of its examples, unless given its supervised ones. With `fetch`, one that is not
    there is downloaded and prepared by TensorFlow Datasets, for random access. Raises ValueError in one line for a
    missing extra, an unknown name, split or key, or a data set that is not prepared.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ValueError(f"tfds:{name} needs the extra tfds: pip install 'tapeline[tfds]' ({error})") from error
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except ValueError as error:
        raise ValueError(f"tfds:{name}: {str(error).splitlines()[0]}") from error
    if not builder.is_prepared():
        if not fetch:
            raise ValueError(
                f"tfds:{name}: not prepared in {builder.data_path}: correct data_dir or pass download=True"
            )
        builder.download_and_prepare(file_format="array_record")
    if split not in builder.info.splits:
        raise ValueError(f"tfds:{name}: split must be one of {', '.join(builder.info.splits)}, found {split!r}")
    features, supervised = builder.info.features, builder.info.supervised_keys or (None, None)
    keys = {"inputs": inputs or supervised[0], "labels": labels or supervised[1]}
    keys = {part: key for part, key in keys.items() if key is not None}
    if "inputs" not in keys or not set(keys.values()) <= set(features):
        raise ValueError(f"tfds:{name}: inputs and labels must be among {', '.join(features)}, found {keys}")
    info = _info(name, features, keys, builder.info)
    try:
        return Gathered(builder.as_data_source(split=split), keys, info)
    except NotImplementedError:
        return Stream(builder, split, keys, info)


def _info(name, features, keys, about):
    shape = features[keys["inputs"]].shape
    label = features[keys["labels"]] if "labels" in keys else None
    classes = getattr(label, "num_classes", None)
    names = tuple(label.names) if classes and label.names else ()
    return Info(f"tfds:{name}", classes, names, tuple(shape), about.redistribution_info.license)
