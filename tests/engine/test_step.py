"""The step's law: one gradient, that of Σwℓ/Σw + penalty, however the batch is cut."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import layers
import optim


class Linear(tf.Module):
    def __init__(self, weights):
        super().__init__()
        self.kernel = tf.Variable(weights)

    def __call__(self, inputs):
        return inputs @ self.kernel


class Penalised(engine.Supervised):
    def __init__(self, loss, strength):
        super().__init__(loss)
        self.strength = strength

    def __call__(self, model, batch, training):
        terms = super().__call__(model, batch, training)
        return terms._replace(penalty={"l2": self.strength * tf.reduce_sum(model.kernel**2)})


def context(first_row=0, valid_rows=None):
    return engine.StepContext(0, 0, first_row, valid_rows)


@st.composite
def problems(draw):
    rows, features, classes = draw(st.integers(1, 17)), draw(st.integers(1, 5)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = np.asarray(draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=rows, max_size=rows)))
    return {
        "inputs": rng.normal(size=(rows, features)),
        "labels": rng.integers(0, classes, rows),
        "weights": weights,
    }, rng.normal(size=(features, classes))


def weighted_mean_by_hand(batch, kernel):
    """Loss and gradient of the softmax regression Σwℓ/Σw, in closed form."""
    x, y, w = batch["inputs"], batch["labels"], batch["weights"]
    logits = x @ kernel
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    total = w.sum()
    if total == 0:
        return 0.0, np.zeros_like(kernel)
    rows = np.arange(len(y))
    loss = -(w * np.log(p[rows, y])).sum() / total
    p[rows, y] -= 1
    return loss, x.T @ (w[:, None] * p) / total


@given(problems())
def test_gradient_is_that_of_the_weighted_mean_written_out_by_hand(problem):
    batch, kernel = problem
    model = Linear(kernel)
    sums = engine.slice_sums(
        model, engine.Supervised("sparse_categorical_crossentropy"), batch, [model.kernel], context()
    )
    (gradient,) = engine.mean_gradients(sums)
    loss, expected = weighted_mean_by_hand(batch, kernel)
    weight = float(sums.weight)
    np.testing.assert_allclose(float(sums.loss) / weight if weight else 0.0, loss, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-13)


@given(problems(), st.data())
def test_slices_add_up_to_the_whole_batch(problem, data):
    batch, kernel = problem
    rows = len(batch["labels"])
    cut = data.draw(st.integers(1, rows))
    model = Linear(kernel)
    objective = engine.Supervised("sparse_categorical_crossentropy")
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}

    def sums(part, first_row=0):
        return engine.slice_sums(model, objective, part, [model.kernel], context(first_row), metrics)

    whole = sums(batch)
    parts = [sums({k: v[:cut] for k, v in batch.items()})]
    if cut < rows:
        parts.append(sums({k: v[cut:] for k, v in batch.items()}, cut))
    np.testing.assert_allclose(sum(p.gradients[0] for p in parts), whole.gradients[0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(sum(p.loss for p in parts), whole.loss, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(sum(p.metrics["accuracy"] for p in parts), whole.metrics["accuracy"])
    assert sum(int(p.examples) for p in parts) == rows


@given(problems(), st.integers(1, 3))
def test_padding_rows_change_nothing(problem, padding):
    batch, kernel = problem
    rows = len(batch["labels"])
    padded = {name: np.concatenate([values, np.repeat(values[-1:], padding, axis=0)]) for name, values in batch.items()}
    model = Linear(kernel)
    objective = engine.Supervised("sparse_categorical_crossentropy")
    plain = engine.slice_sums(model, objective, batch, [model.kernel], context())
    masked = engine.slice_sums(model, objective, padded, [model.kernel], context(valid_rows=tf.constant(rows)))
    np.testing.assert_allclose(masked.gradients[0], plain.gradients[0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(masked.loss, plain.loss, rtol=1e-12, atol=1e-13)
    assert int(masked.examples) == rows


def test_an_example_of_weight_0_may_have_an_infinite_loss():
    model = Linear(np.ones((1, 1)))
    batch = {"inputs": np.array([[1.0], [np.inf]]), "labels": np.array([[0.0], [0.0]]), "weights": np.array([1.0, 0.0])}
    sums = engine.slice_sums(model, engine.Supervised("mean_squared_error"), batch, [model.kernel], context())
    assert float(sums.loss) == 1.0


@given(problems())
def test_penalty_counts_once_beside_the_mean(problem):
    batch, kernel = problem
    batch = {**batch, "weights": batch["weights"] + 1}
    model = Linear(kernel)
    sums = engine.slice_sums(model, Penalised("sparse_categorical_crossentropy", 0.1), batch, [model.kernel], context())
    (gradient,) = engine.mean_gradients(sums)
    np.testing.assert_allclose(gradient, weighted_mean_by_hand(batch, kernel)[1] + 0.2 * kernel, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(sums.penalty, len(batch["labels"]) * 0.1 * (kernel**2).sum(), rtol=1e-12)


def test_a_batch_without_weight_updates_nothing_but_the_schedule():
    model = Linear(np.ones((2, 2)))
    rule = optim.Adam(optim.schedules.exponential(0.1, 1, 0.5))
    rule.init(engine.variable_paths(model))
    batch = {"inputs": np.ones((3, 2)), "labels": np.zeros(3, np.int64), "weights": np.zeros(3)}
    before = {path: v.numpy() for path, v in engine.variable_paths(rule).items()}
    engine.step(model, Penalised("sparse_categorical_crossentropy", 0.1), rule, batch, [model.kernel], context())
    np.testing.assert_array_equal(model.kernel, np.ones((2, 2)))
    after = {path: v.numpy() for path, v in engine.variable_paths(rule).items()}
    changed = [path for path in after if not np.array_equal(after[path], before[path])]
    assert changed == ["step"]
    assert float(rule.value("learning_rate")) == 0.05


class Normalised(tf.Module):
    """With moving statistics."""

    def __init__(self):
        super().__init__()
        self.norm, self.dense = layers.BatchNorm(3, dtype="float64"), layers.Dense(3, 2, dtype="float64")

    def __call__(self, inputs, training=False):
        return self.dense(self.norm(inputs, training=training))


RULES = {
    "adamw": lambda: optim.AdamW(optim.schedules.exponential(0.1, 1, 0.5)),
    "lookahead": lambda: optim.Lookahead(optim.SGD(0.1, momentum=0.9, nesterov=True), 2),
    "a chain and parts": lambda: optim.chain(
        optim.clip_by_global_norm(0.1), optim.Partition({"*.kernel": optim.Adam(0.1), "*": optim.SGD(0.1)})
    ),
    "schedule-free": lambda: optim.ScheduleFreeAdamW(0.1),
}


@pytest.mark.parametrize("rule", RULES)
@given(kinds=st.lists(st.sampled_from(["finite", "without weight", "not finite"]), min_size=1, max_size=4))
@settings(max_examples=10)
def test_a_step_without_a_branch_leaves_what_one_with_a_branch_does(rule, kinds):
    """All of it: weights, slots, steps, averages, moving statistics; whichever kinds of batches come."""

    def state(in_xla):
        tf.random.set_seed(0)
        model, optimizer, average = Normalised(), RULES[rule](), optim.EMA(0.5)
        paths = engine.variable_paths(model)
        optimizer.init({path: v for path, v in paths.items() if v.trainable})
        average.init(paths)
        found = []
        for number, kind in enumerate(kinds):
            rng = np.random.default_rng(number)
            batch = {"inputs": rng.normal(size=(5, 3)), "labels": rng.integers(0, 2, 5), "weights": np.ones(5)}
            batch["weights"] *= kind != "without weight"
            batch["inputs"][0, 0] *= np.nan if kind == "not finite" else 1
            variables = engine.trainable_variables(model)
            loss = engine.Supervised("sparse_categorical_crossentropy")
            done = engine.step(model, loss, optimizer, batch, variables, context(), average=average, in_xla=in_xla)
            assert bool(done.finite) == (kind != "not finite")
            found.append(done.squares.numpy())
        parts = {"model": model, "optimizer": optimizer, "average": average}
        return found, {
            (name, path): v.numpy() for name, part in parts.items() for path, v in engine.variable_paths(part).items()
        }

    (squares, found), (expected_squares, expected) = state(True), state(False)
    # A few numbers, added in another order.
    np.testing.assert_allclose(squares, expected_squares, rtol=1e-14)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=str(name))


def test_token_weights_count_tokens():
    """[batch, time] losses: Σ over tokens over their number, not a mean of the sequences' means."""
    model = Linear(np.array([[1.0]]))
    inputs = np.array([[[1.0], [1.0], [1.0]], [[5.0], [0.0], [0.0]]])
    batch = {"inputs": inputs, "labels": np.zeros((2, 3, 1)), "weights": np.array([[1.0, 1, 1], [1, 0, 0]])}
    sums = engine.slice_sums(model, engine.Supervised("mean_squared_error"), batch, [model.kernel], context())
    assert float(sums.loss) == 28.0
    assert float(sums.weight) == 4.0


def test_weights_of_examples_spread_over_their_tokens():
    model = Linear(np.array([[1.0]]))
    batch = {"inputs": np.ones((2, 3, 1)), "labels": np.zeros((2, 3, 1)), "weights": np.array([2.0, 0.0])}
    sums = engine.slice_sums(model, engine.Supervised("mean_squared_error"), batch, [model.kernel], context())
    assert (float(sums.loss), float(sums.weight)) == (6.0, 6.0)


def test_a_variable_that_nothing_reaches_is_named():
    model = Linear(np.ones((2, 2)))
    model.forgotten = tf.Variable(np.ones(3))
    rule = optim.SGD(0.1)
    rule.init(engine.variable_paths(model))
    batch = {"inputs": np.ones((3, 2)), "labels": np.zeros(3, np.int64)}
    with pytest.raises(ValueError, match="forgotten"):
        engine.step(
            model,
            engine.Supervised("sparse_categorical_crossentropy"),
            rule,
            batch,
            engine.trainable_variables(model),
            context(),
        )


def test_a_loss_that_returns_a_mean_is_refused():
    model = Linear(np.ones((2, 2)))
    batch = {"inputs": np.ones((3, 2)), "labels": np.zeros(3, np.int64)}
    with pytest.raises(ValueError, match="one value per example"):
        engine.slice_sums(model, engine.Supervised(lambda y, z: tf.reduce_mean(z)), batch, [model.kernel], context())


def test_sparse_gradients_stay_sparse_and_are_divided():
    table = tf.Variable(np.ones((10, 2)))
    model = tf.Module()
    model.table = table

    def objective(model, batch, training):
        rows = tf.reduce_sum(tf.gather(model.table, batch["inputs"]), axis=-1)
        return engine.Terms(rows, tf.ones_like(rows), rows, None)

    sums = engine.slice_sums(model, objective, {"inputs": np.array([1, 1, 7, 3])}, [table], context())
    (gradient,) = engine.mean_gradients(sums)
    assert isinstance(gradient, tf.IndexedSlices)
    expected = np.zeros((10, 2))
    expected[[1, 3, 7]] = [[0.5], [0.25], [0.25]]
    np.testing.assert_allclose(tf.convert_to_tensor(gradient), expected)
