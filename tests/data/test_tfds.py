"""TensorFlow Datasets come as sources: gathered where they are prepared so, as streams where not."""

import sys

import numpy as np
import pytest
import tensorflow as tf

import data


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match=r"^tfds:mnist needs the extra tfds: pip install 'tapeline\[tfds\]'[^\n]*$"):
        data.load("tfds:mnist")


@pytest.fixture(scope="module")
def tfds():
    reason = "no tensorflow_datasets: install the extra tfds"
    return pytest.importorskip("tensorflow_datasets", reason=reason)


@pytest.fixture(scope="module")
def prepared(tfds, tmp_path_factory):
    """A data set of 10 and 4 examples in both formats: (format) -> data_dir."""

    class Tapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(4, 4, 1)),
                "label": tfds.features.ClassLabel(names=["even", "odd"]),
                "text": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples(10), "test": self._generate_examples(4)}

        def _generate_examples(self, count):
            for number in range(count):
                image = np.full((4, 4, 1), number, np.uint8)
                yield number, {"image": image, "label": number % 2, "text": f"é{number}"}

    folders = {}
    for form in ("array_record", "tfrecord"):
        folders[form] = tmp_path_factory.mktemp(form)
        Tapes(data_dir=folders[form], file_format=form).download_and_prepare()
    return folders


def check(rows):
    numbers = [int(np.ravel(image)[0]) for image in rows["inputs"]]
    assert np.asarray(rows["labels"]).tolist() == [number % 2 for number in numbers]
    return numbers


def test_a_data_set_for_random_access_is_gathered(prepared):
    source = data.load("tfds:tapes", data_dir=prepared["array_record"])
    rows = source[np.arange(10)]
    numbers = check(rows)
    assert sorted(numbers) == list(range(10))
    assert check(source[np.array([3, 0, 3])]) == [numbers[3], numbers[0], numbers[3]]
    assert rows["inputs"].shape == (10, 4, 4, 1)
    assert source.info == data.Info("tfds:tapes", 2, ("even", "odd"), (4, 4, 1))
    assert len(data.load("tfds:tapes", "test", prepared["array_record"])) == 4
    batch = next(iter(data.Pipeline(source, 4, transform=data.to_float).training(seed=0)))
    assert batch["inputs"].shape == (4, 4, 4, 1)


def test_other_keys_are_chosen_by_name(prepared):
    source = data.load("tfds:tapes", data_dir=prepared["array_record"], inputs="text", labels="label")
    rows = source[np.arange(10)]
    assert sorted(rows["inputs"].tolist()) == [f"é{number}".encode() for number in range(10)]


def test_a_data_set_in_tfrecords_is_a_stream_that_can_be_saved(prepared, tmp_path):
    source = data.load("tfds:tapes", data_dir=prepared["tfrecord"])
    assert (source.length, source.examples) == (None, 10)
    rows = list(source.dataset())
    numbers = check({name: [row[name].numpy() for row in rows] for name in rows[0]})
    assert sorted(numbers) == list(range(10))
    shards = [[int(row["inputs"][0, 0, 0]) for row in source.dataset((part, 2))] for part in range(2)]
    assert shards == [numbers[::2], numbers[1::2]]
    iterator, fresh = iter(source.dataset()), iter(source.dataset())
    for _ in range(4):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "saved"))
    tf.train.Checkpoint(iterator=fresh).read(path).assert_consumed()
    assert [int(row["inputs"][0, 0, 0]) for row in fresh] == numbers[4:]


def test_a_stream_feeds_a_pipeline_and_its_iterator_goes_on_where_it_was(prepared, tmp_path):
    source = data.load("tfds:tapes", data_dir=prepared["tfrecord"])
    pipeline = data.Pipeline(source, 4, transform=data.to_float)
    whole = list(pipeline.training(seed=0).take(6).as_numpy_iterator())
    numbers = np.concatenate([np.rint(255 * batch["inputs"][:, 0, 0, 0]) for batch in whole[:3]])
    assert sorted(numbers) == list(range(10))
    iterator, fresh = iter(pipeline.training(0)), iter(pipeline.training(0, 1, 1))
    for _ in range(4):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "saved"))
    np.testing.assert_array_equal(next(fresh)["inputs"], whole[4]["inputs"])
    tf.train.Checkpoint(iterator=fresh).read(path).assert_consumed()
    for expected in whole[4:]:
        np.testing.assert_array_equal(next(fresh)["inputs"], expected["inputs"])


def test_floats_that_are_not_finite_are_refused_from_either_format(tfds, tmp_path):
    class Odd(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "x": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                "y": tfds.features.ClassLabel(num_classes=2),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("x", "y")
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number in range(3):
                yield number, {"x": np.float32([number, np.inf if number == 1 else 0]), "y": 1}

    sources = []
    for form in ("array_record", "tfrecord"):
        Odd(data_dir=tmp_path / form, file_format=form).download_and_prepare()
        sources.append(data.load("tfds:odd", data_dir=tmp_path / form))
    with pytest.raises(ValueError, match=r"^tfds:odd: row \d has a value that is not finite"):
        sources[0][np.arange(3)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="inputs has a value that is not finite"):
        list(sources[1].dataset())


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("tfds:no_such_tapes", {}, "tfds:no_such_tapes: .*not found"),
        ("tfds:tapes", {"split": "validation"}, "split must be one of train, test, found 'validation'"),
        ("tfds:tapes", {"inputs": "sound"}, "inputs and labels must be among image, label, text, found .*'sound'"),
        ("tfds:tapes", {"sound": 1}, "load: tfds:tapes has the options inputs, labels, found 'sound'"),
    ],
)
def test_what_is_not_there_is_named(prepared, name, options, reason):
    with pytest.raises(ValueError, match=rf"^[^\n]*{reason}[^\n]*$"):
        data.load(name, data_dir=prepared["array_record"], **options)


def test_a_data_set_that_is_not_prepared_is_refused(prepared, tmp_path):
    with pytest.raises(ValueError, match=r"tfds:tapes: not prepared in .*tapes.*: correct data_dir or pass download"):
        data.load("tfds:tapes", data_dir=tmp_path)
