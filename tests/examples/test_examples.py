"""The examples run, small, and each does what it says."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import data
import engine
import layers
import optim

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """An example as a module, by its name."""
    tf.random.set_seed(0)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def pictures(examples=20):
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    return next(iter(data.Pipeline(source, examples, transform=data.to_float).evaluation()))


def test_own_layer_is_the_largest_piece_learns_and_is_saved(example, tmp_path):
    own_layer = example("own_layer")
    layer, x = own_layer.Maxout(3, 2, pieces=4), np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    y = (x @ layer.kernel.numpy()).reshape(5, 2, 4).max(-1)
    np.testing.assert_allclose(layer(x), y, rtol=1e-5, atol=1e-6)
    trainer, accuracy = own_layer.main(examples=500, epochs=3, units=16)
    assert accuracy > 0.5
    again = engine.load_model(engine.save_model(trainer.model, tmp_path / "model.h5"))
    assert engine.weights_sha256(again) == engine.weights_sha256(trainer.model)


def test_own_loss_lies_between_crossentropy_and_the_probability_of_error(example):
    own_loss = example("own_loss")
    logits, labels = tf.constant([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], tf.float64), tf.constant([2, 0])
    p = tf.gather(tf.nn.softmax(logits), labels, batch_dims=1)
    np.testing.assert_allclose(own_loss.generalized_crossentropy(labels, logits, q=1.0), 1 - p)
    np.testing.assert_allclose(own_loss.generalized_crossentropy(labels, logits, q=1e-6), -np.log(p), rtol=1e-5)


def test_own_weights_are_those_of_the_paper_and_what_the_engine_divides_by(example):
    own_loss = example("own_loss")
    counts, beta = np.array([1, 9]), 0.5
    objective = own_loss.BalancedByNumber("sparse_categorical_crossentropy", counts, beta)
    batch = {"inputs": tf.constant([[2.0, 1.0], [0.0, 1.0]], tf.float64), "labels": tf.constant([0, 1])}
    terms = objective(tf.identity, batch, False)
    by_hand = np.array([1.0, 0.5 / (1 - 0.5**9)])
    np.testing.assert_allclose(terms.weights, by_hand)
    accuracies = own_loss.main(examples=400, epochs=2)
    assert accuracies["weighted"] > 0.4
    assert set(accuracies) == {"crossentropy", "generalized", "weighted", "by class"}


def test_own_update_rule_is_the_algorithm_of_its_paper(example):
    own_update_rule = example("own_update_rule")
    rule, x = own_update_rule.AdaBelief(0.1, epsilon=1e-8), tf.Variable([1.0, -2.0], dtype=tf.float64)
    rule.init({"x": x})
    y, m, s = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for t in range(1, 6):
        rule.apply([2 * x], [x])
        g = 2 * y
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * (g - m) ** 2 + 1e-8
        y = y - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-12)
    assert own_update_rule.main(examples=500, epochs=3) > 0.5


def test_own_loop_has_the_losses_of_the_trainer(example):
    own_loop = example("own_loop")
    model, objective, rule, train = own_loop.make(examples=180)
    losses, epochs = own_loop.fit(model, objective, rule, train, most_epochs=2)
    other, objective, rule, train = own_loop.make(examples=180)
    history = engine.Trainer(other, objective, rule, seed=0).fit(train, epochs=2)
    assert epochs == 2
    np.testing.assert_allclose(losses, history.steps["loss"], rtol=1e-5)


def test_own_loop_ends_when_it_is_out_of_patience(example):
    own_loop = example("own_loop")
    model, objective, _, train = own_loop.make(examples=100)
    # At a rate this low no weight moves, so that only the masks of dropout differ between epochs.
    _, epochs = own_loop.fit(model, objective, optim.SGD(1e-30), train, patience=2)
    assert epochs < 20


def test_own_hook_knows_after_resuming_where_the_run_began(example, tmp_path):
    own_hook = example("own_hook")
    undisturbed = own_hook.main(examples=200, epochs=2, units=(8,))
    own_hook.main(tmp_path, examples=200, epochs=1, units=(8,))
    assert own_hook.main(tmp_path, examples=200, epochs=2, units=(8,)) == undisturbed
    assert set(undisturbed) == {"layers.1.kernel", "layers.2.kernel"}


def test_own_source_yields_what_its_arrays_would(example, tmp_path):
    source, accuracy = example("own_source").main(tmp_path, examples=200, epochs=2)
    same = data.Subset(data.load("fashion_mnist_mini"), range(200))
    batches = [
        next(iter(data.Pipeline(each, 30).training(seed=3, epoch=1, index=4)))["inputs"] for each in (source, same)
    ]
    np.testing.assert_array_equal(*batches)
    assert accuracy > 0.2


def test_check_my_layer_passes_the_right_gradient_and_names_what_slipped(example):
    check_my_layer = example("check_my_layer")
    x = tf.random.stateless_normal([4, 3], [0, 0])
    assert check_my_layer.check(check_my_layer.Swish(3), x).failed == []
    with pytest.raises(engine.testing.GradientError) as caught:
        check_my_layer.check(check_my_layer.Wrong(3), x)
    assert caught.value.name == "beta"
    check_my_layer.test_gradient()


def test_two_optimizers_have_the_variables_that_were_meant_for_them(example):
    two_optimizers = example("two_optimizers")
    trainer, accuracy = two_optimizers.main(examples=500, epochs=2, units=(16,))
    assert accuracy > 0.5
    slots = trainer.optimizer.slots
    adam = {path for path in slots["v"] if path in slots["m"]}
    assert adam == {"layers.1.bias", "layers.2.kernel", "layers.2.bias"}
    assert {path for paths in slots.values() for path in paths} - adam == {"layers.1.kernel"}


def test_custom_gradients_are_judged_and_binary_weights_learn(example):
    custom_gradient = example("custom_gradient")
    report, error = custom_gradient.checks()
    assert report.failed == []
    assert error.name == "inputs[0]"
    model, accuracy = custom_gradient.main(examples=500, epochs=3, units=64)
    assert accuracy > 0.5
    assert np.unique(custom_gradient.binarize(model.layers[1].kernel)).tolist() == [-1, 1]


def test_hessian_vector_products_are_those_of_the_hessian(example):
    products = example("hessian_vector_products")
    tf.random.set_seed(1)
    model = layers.Sequential([layers.Dense(3, 4, activation="tanh"), layers.Dense(4, 2)])
    model, x = engine.cast(model, "float64"), np.random.default_rng(0).normal(size=(7, 3))
    batch = {"inputs": tf.constant(x), "labels": tf.constant([0, 1, 1, 0, 1, 0, 0])}
    variables, objective = engine.trainable_variables(model), engine.Supervised("sparse_categorical_crossentropy")
    sizes = [int(np.prod(v.shape)) for v in variables]
    hessian = []
    for column in np.eye(sum(sizes)):
        parts = np.split(column, np.cumsum(sizes)[:-1])
        vector = [tf.reshape(part, v.shape) for part, v in zip(parts, variables, strict=True)]
        product = products.hessian_vector_product(model, objective, batch, variables, vector)
        hessian.append(np.concatenate([tf.reshape(part, [-1]) for part in product]))
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            loss = tf.reduce_mean(objective(model, batch, False).losses)
        flat = tf.concat([tf.reshape(g, [-1]) for g in inner.gradient(loss, variables)], 0)
    rows = outer.jacobian(flat, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    dense = np.concatenate([tf.reshape(row, [sum(sizes), -1]) for row in rows], axis=1)
    np.testing.assert_allclose(np.array(hessian), dense, atol=1e-12)
    value, _ = products.sharpness(model, objective, batch, iterations=300)
    eigenvalues = np.linalg.eigvalsh(dense)
    np.testing.assert_allclose(value, eigenvalues[np.argmax(abs(eigenvalues))], rtol=1e-3)


def test_sharpness_is_told_after_each_epoch(example):
    values = example("hessian_vector_products").main(examples=50, epochs=1, units=(8,))
    assert len(values) == 2
    assert min(values) > 0


def test_per_example_gradients_are_those_of_batches_of_one(example):
    per_example = example("per_example_gradients")
    model, batch, context = layers.nets.mlp((28, 28, 1), 10, units=(4,)), pictures(5), engine.StepContext(0, 0)
    variables, objective = engine.trainable_variables(model), engine.Supervised("sparse_categorical_crossentropy")
    gradients = per_example.per_example_gradients(model, objective, batch, variables, context)
    for row in range(5):
        one = {name: value[row : row + 1] for name, value in batch.items()}
        alone = engine.slice_sums(model, objective, one, variables, context).gradients
        for every, single in zip(gradients, alone, strict=True):
            np.testing.assert_allclose(every[row], single, atol=1e-6)
    kept, lengths = per_example.clipped(gradients, largest=0.5)
    assert min(lengths) > 0.5
    for row in range(5):
        np.testing.assert_allclose(tf.linalg.global_norm([g[row] for g in kept]), 0.5, rtol=1e-5)
    noiseless = per_example.private_gradients(gradients, 1e9, 0.0, context)
    for mean, every in zip(noiseless, gradients, strict=True):
        np.testing.assert_allclose(mean, tf.reduce_mean(every, 0), atol=1e-6)


def test_private_training_learns(example):
    losses, accuracy = example("per_example_gradients").main(examples=500, epochs=4, batch_size=50, units=(8,))
    assert accuracy > 0.4
    assert losses[-1] < losses[0]


def test_learning_rate_sweep_varies_the_rate_alone(example, tmp_path):
    rates = (1e-5, 1e-2)
    results = example("learning_rate_sweep").main(tmp_path, rates, examples=300, epochs=2, units=(8,))
    assert len({result["began_with"] for result in results.values()}) == 1
    assert results[1e-2]["loss"] < results[1e-5]["loss"]
    assert sorted(path.name for path in tmp_path.glob("*/history.jsonl")) == ["history.jsonl"] * 2


def test_divergence_of_the_vae_is_that_of_its_samples(example):
    vae = example("vae")
    mean, log_variance = np.array([[0.5, -1.0]]), np.array([[0.3, -0.7]])
    z = mean + np.exp(log_variance / 2) * np.random.default_rng(0).normal(size=(200_000, 2))
    log_q = -0.5 * ((z - mean) ** 2 / np.exp(log_variance) + log_variance)
    sampled = (log_q + 0.5 * z**2).sum(1).mean()
    np.testing.assert_allclose(vae.divergence(mean, log_variance), [sampled], rtol=0.01)


def test_vae_learns_and_writes_its_pictures(example, tmp_path):
    losses, _ = example("vae").main(tmp_path, epochs=6, examples=500, latent=4, hidden=64)
    assert losses[-1] < 0.9 * losses[0]
    for name in ("samples.png", "reconstructed.png"):
        grid = tf.io.decode_png((tmp_path / name).read_bytes())
        assert grid.shape[1:] == [280, 1]
        assert 0 < np.mean(grid) < 255


def test_grid_has_each_picture_at_its_place(example, tmp_path):
    shown = tf.reshape(tf.range(6, dtype=tf.float32) / 255, [6, 1, 1, 1]) * tf.ones([6, 2, 3, 1])
    example("vae").write_grid(tmp_path / "grid.png", shown, columns=3)
    grid = tf.io.decode_png((tmp_path / "grid.png").read_bytes())[..., 0].numpy()
    np.testing.assert_array_equal(grid, np.kron([[0, 1, 2], [3, 4, 5]], np.ones([2, 3])))


def test_gan_moves_each_part_by_its_own_objective_alone(example, tmp_path):
    gan = example("gan")
    losses, model = gan.main(tmp_path, epochs=1, examples=60, batch_size=20, latent=4, filters=2)
    assert np.isfinite(losses).all()
    assert tf.io.decode_png((tmp_path / "samples.png").read_bytes()).shape == [140, 280, 1]
    batch, context = pictures(20), engine.StepContext(0, 9)
    for objective, moved, still in (
        (gan.discriminate, model.discriminator, model.generator),
        (gan.generate, model.generator, model.discriminator),
    ):
        rule, variables = optim.SGD(0.1), engine.trainable_variables(moved)
        rule.init(variables)
        before = [v.numpy() for v in (*engine.trainable_variables(still), *variables)]
        engine.step(model, objective, rule, batch, variables, context)
        after = [v.numpy() for v in (*engine.trainable_variables(still), *variables)]
        same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
        # All of the part that stands still are the same, and none of the other.
        assert same == [True] * (len(same) - len(variables)) + [False] * len(variables)
