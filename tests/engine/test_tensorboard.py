"""TensorBoard's histograms, pictures and graph, read back from its files; the pictures that are drawn."""

import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data
import engine
import layers
import optim
from engine.pictures import confusion_picture, font, sample_grid

NAMES = ("ant", "bee", "cat")


def pictures(examples=24, seed=0):
    """A source of small pictures of three classes: how bright they are."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, examples).astype(np.int32)
    inputs = (rng.random([examples, 4, 4, 1]) + labels[:, None, None, None]).astype(np.float32) / 4
    return data.Arrays(inputs, labels, info=data.Info("bright", 3, NAMES))


def network():
    tf.random.set_seed(0)
    return layers.Sequential([layers.Conv2D(1, 2, 3), layers.BatchNorm(2), layers.Flatten(), layers.Dense(8, 3)])


def read(folder):
    files = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    files.Reload()
    return files


def tensors(folder, tag):
    return [(event.step, tf.make_ndarray(event.tensor_proto)) for event in read(folder).Tensors(tag)]


def fit(folder, model=None, epochs=2, **options):
    made = trainer(model or network())
    validation = data.Pipeline(pictures(20, 1), 6, shuffle=False)
    hook = engine.hooks.TensorBoard(folder, **options)
    made.fit(data.Pipeline(pictures(), 8), epochs=epochs, validation=validation, hooks=[hook])
    return made, validation


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard")
    return folder, *fit(folder, samples=8, confusion=13)


def test_histograms_count_every_weight_of_each_epoch(written):
    folder, made, _ = written
    weights = {f"weights/{path}": variable.numpy() for path, variable in engine.variable_paths(made.model).items()}
    assert set(weights) == {tag for tag in read(folder / "train").Tags()["tensors"] if tag.startswith("weights/")}
    for tag, values in weights.items():
        found = tensors(folder / "train", tag)
        assert [step for step, _ in found] == [3, 6]
        left, right, count = found[-1][1].T
        expected, edges = np.histogram(values.astype(np.float64), bins=30, range=(left[0], right[-1]))
        assert abs(count - expected).sum() <= 2  # a value at an edge is rounded to one side or the other
        np.testing.assert_allclose(edges[:-1], left, atol=1e-12)
        assert count.sum() == values.size
        if values.min() < values.max():
            assert (left[0], right[-1]) == (pytest.approx(values.min()), pytest.approx(values.max()))


def decoded(value):
    """Width, height and the picture of an image summary."""
    return int(value[0]), int(value[1]), tf.io.decode_png(value[2], 3).numpy()


def test_samples_and_confusion_matrix_are_those_of_the_model_at_that_step(written):
    folder, made, validation = written
    source = validation.source
    shares = np.exp(logits := made.predict(validation)) / np.exp(logits).sum(-1, keepdims=True)
    found = tensors(folder / "validation", "samples")
    assert [step for step, _ in found] == [3, 6]
    rows = source[np.arange(8)]
    grid = sample_grid(rows["inputs"], rows["labels"], shares[:8], NAMES)
    width, height, picture = decoded(found[-1][1])
    np.testing.assert_array_equal(picture, grid)
    assert (height, width) == grid.shape[:2]
    matrix = np.zeros([3, 3])
    np.add.at(matrix, (source.labels[:13], shares[:13].argmax(-1)), 1)
    picture = decoded(tensors(folder / "validation", "confusion")[-1][1])[2]
    np.testing.assert_array_equal(picture, confusion_picture(matrix, NAMES))


def test_the_graph_of_the_step_stands_within_layers_and_is_written_once(written):
    folder, made, validation = written
    graph = read(folder / "train").Graph()
    names = {node.name for node in graph.node}
    for part in ("objective/Sequential/layers.0/", "objective/Sequential/layers.3/", "update/", "gradient_tape/"):
        assert any(name.startswith(part) for name in names), part
    made.fit(data.Pipeline(pictures(), 8), epochs=3, validation=validation, hooks=[engine.hooks.TensorBoard(folder)])
    events = [
        event
        for path in sorted((folder / "train").glob("events.*"))
        for event in (tf.compat.v1.Event.FromString(raw.numpy()) for raw in tf.data.TFRecordDataset(str(path)))
    ]
    assert sum(event.HasField("graph_def") for event in events) == 1


def test_nothing_of_it_changes_training_or_its_traces(written):
    _, made, _ = written
    other = trainer(network())
    other.fit(data.Pipeline(pictures(), 8), epochs=int(made.state.epoch), validation=data.Pipeline(pictures(20, 1), 6))
    assert engine.weights_sha256(other.model) == engine.weights_sha256(made.model)
    assert other.traces == made.traces


def test_each_can_be_left_out_and_weights_that_are_equal_are_one_bucket(tmp_path):
    fit(tmp_path / "none", epochs=1, histograms=False, samples=0, confusion=0, graph=False)
    train, validation = read(tmp_path / "none" / "train"), read(tmp_path / "none" / "validation")
    tags = {*train.Tags()["tensors"], *validation.Tags()["tensors"]}
    assert not any(tag.startswith(("weights", "samples", "confusion")) for tag in tags)
    assert not train.Tags()["graph"]
    model = network()
    engine.freeze(model.layers[1])
    fit(tmp_path / "some", model, epochs=1, samples=0, graph=False)
    assert "confusion" in (tags := read(tmp_path / "some" / "validation").Tags()["tensors"])
    assert "samples" not in tags
    ((_, gamma),) = tensors(tmp_path / "some" / "train", "weights/layers.1.gamma")
    assert gamma[:, 2].sum() == gamma[:, 2].max() == 2


def test_of_what_is_no_picture_there_are_no_samples_and_of_what_has_no_classes_no_matrix(tmp_path):
    source = classified()
    with_classes = data.Arrays(*source.arrays.values(), info=data.Info("rows", 3, NAMES))
    for name, made in (("with", with_classes), ("without", source)):
        hook = engine.hooks.TensorBoard(tmp_path / name, graph=False)
        trainer(mlp()).fit(data.Pipeline(made, 25), epochs=1, hooks=[hook])
    tags = read(tmp_path / "with" / "train").Tags()["tensors"]
    assert "confusion" in tags
    assert "samples" not in tags
    assert "confusion" not in read(tmp_path / "without" / "train").Tags()["tensors"]


class Regression(engine.Supervised):
    """A task whose batches have no labels of that name."""

    def __call__(self, model, batch, training):
        outputs = model(batch["inputs"], training=training)
        losses = tf.reduce_sum(outputs**2, -1)
        return engine.Terms(losses, tf.ones_like(losses), outputs, losses)


def test_a_task_without_labels_has_no_pictures(tmp_path):
    source = pictures()
    pipeline = data.Pipeline(source, 8, transform=lambda batch: {"inputs": batch["inputs"]})
    made = engine.Trainer(network(), Regression("mean_squared_error"), optim.SGD(0.01))
    made.fit(pipeline, epochs=1, hooks=[engine.hooks.TensorBoard(tmp_path, graph=False)])
    assert not {"samples", "confusion"} & set(read(tmp_path / "train").Tags()["tensors"])


def test_labels_that_are_rows_over_classes_will_do(tmp_path):
    model = network()
    soft = data.Pipeline(pictures(), 8, transform=data.one_hot(3))
    made = engine.Trainer(model, "categorical_crossentropy", optim.SGD(0.1), average=optim.EMA(0.5))
    made.fit(soft, epochs=1, hooks=[engine.hooks.TensorBoard(tmp_path, graph=False)])
    matrix = np.zeros([3, 3])
    # With the averages, as evaluation is.
    np.add.at(matrix, (soft.source.labels, made.predict(soft).argmax(-1)), 1)
    ((_, value),) = tensors(tmp_path / "train", "confusion")
    np.testing.assert_array_equal(decoded(value)[2], confusion_picture(matrix, NAMES))


def test_options_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^samples and confusion must be at least 0, got -1 and 1000$"):
        engine.hooks.TensorBoard(tmp_path, samples=-1)


def test_a_wrong_guess_is_red_and_names_the_truth():
    image = np.zeros([1, 5, 5, 1], np.uint8)
    right = sample_grid(image, np.array([0]), np.array([[0.9, 0.1]]), ["yes", "no"])
    wrong = sample_grid(image, np.array([1]), np.array([[0.9, 0.1]]), ["yes", "no"])
    red = lambda picture: ((picture[..., 0] > 150) & (picture[..., 1] < 100)).sum()  # noqa: E731
    assert red(right) == 0
    assert red(wrong) > 50
    # As many pixels, of another colour; and the third line beside.
    assert (right < 200).any(-1).sum() < (wrong < 200).any(-1).sum()


def test_pictures_of_any_size_and_range_fit():
    for shape, dtype in (([3, 7, 1], np.uint8), ([300, 500, 3], np.float32)):
        images = np.random.default_rng(0).normal(100, 50, [3, *shape]).clip(0, 255).astype(dtype)
        grid = sample_grid(images, np.arange(3), np.eye(3), NAMES, columns=2)
        assert grid.dtype == np.uint8
        assert grid[10:100, 10:100].astype(float).std() > 10


def test_a_darker_field_has_the_larger_share_of_its_row():
    picture = confusion_picture(np.array([[9.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 98.0]]), NAMES)
    assert picture.min() < 20
    whole = confusion_picture(np.eye(100), [str(n) for n in range(100)])
    side = (whole.shape[0] - 8) // 100
    fields = whole[4:-4:side, 4:-4:side].astype(int).sum(-1)
    np.testing.assert_array_equal(fields == fields.max(), ~np.eye(100, dtype=bool))


def test_letters_differ_and_what_is_unknown_is_a_question_mark():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-_/%:+?!'()=&"
    glyphs = {font.written(letter).tobytes() for letter in letters}
    assert len(glyphs) == len(letters)
    np.testing.assert_array_equal(font.written("é"), font.written("E"))
    np.testing.assert_array_equal(font.written("字"), font.written("?"))
    np.testing.assert_array_equal(font.written("abcdef", 4), font.written("ABC."))
    assert font.written("ab", scale=3).shape == (21, 36)
