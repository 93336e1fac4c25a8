"""The whole loop as one XLA program: the same losses as the graph loop, the same bits however it is cut."""

import os
import signal
import time

import cuts
import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp

import engine
import layers
import optim
from engine import compiling
from layers import nets

LOSS = "sparse_categorical_crossentropy"


def normalised():
    """Dropout, moving statistics, and a layer that is frozen."""
    tf.random.set_seed(0)
    model = layers.Sequential(
        [layers.Dense(6, 6, activation="tanh"), layers.BatchNorm(6), layers.Dropout(0.3), layers.Dense(6, 3)]
    )
    model.layers[0].trainable = False
    return model


def weighted():
    """Batches of 7, 7, 7 and 1 rows, of which the second weighs nothing."""
    source = classified(22, dtype=np.float64)
    weights = np.ones(22)
    weights[7:14] = 0
    return {**source.arrays, "weights": weights}


class Norms(engine.hooks.Hook):
    """Asks for norms, and keeps those of every boundary."""

    norms = True

    def on_fit_begin(self, run):
        self.seen = []

    def on_boundary(self, run):
        self.seen.append(run.last_norms)


def clipped():
    return optim.chain(optim.clip_by_global_norm(0.5), optim.AdamW(optim.schedules.exponential(0.02, 5, 0.7)))


def small():
    return mlp(dropout=0.5)


def momentum():
    return optim.SGD(0.1, momentum=0.9)


def trainer(jit_compile, model=normalised, optimizer=clipped, **options):
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    return cuts.trainer(model, LOSS, optimizer, metrics, jit_compile=jit_compile, max_traces=1, **options)


def trained(made, arrays, stops, hooks=()):
    """The values of every step, over fits that end at `stops`."""
    arrays = {**arrays, "inputs": arrays["inputs"].astype(made.precision.compute.as_numpy_dtype)}
    parts = [made.fit(cuts.Batches(arrays, 7), max_steps=stop, hooks=hooks).steps for stop in stops]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("parts", [1, 3])
def test_both_loops_have_the_same_losses_weights_and_norms(parts):
    """With clipping, schedule, average, loss scale, a step that weighs nothing, and a short last batch."""

    def run(jit_compile):
        options = {"average": optim.EMA(0.9), "loss_scaling": "dynamic"} if parts == 1 else {}
        which = () if parts == 1 else (small, momentum)
        options |= {"accumulate_steps": parts, "steps_per_loop": 3}
        made = trainer(jit_compile, *which, precision="float64", **options)
        hook = Norms("norms")
        steps = trained(made, weighted(), [10], [hook] if parts == 1 else [])
        assert made.compiled == jit_compile
        norms = [list(norms.values()) for norms in getattr(hook, "seen", [])]
        return {**steps, "norms": np.array(norms)}, cuts.values(made.state)

    (steps, state), (expected_steps, expected_state) = run("loop"), run(False)
    assert steps.keys() == expected_steps.keys()
    for name, values in expected_steps.items():
        np.testing.assert_allclose(steps[name], values, rtol=1e-12, err_msg=name)
    for path, value in expected_state.items():
        np.testing.assert_allclose(state[path], value, rtol=1e-9, atol=1e-13, err_msg=path)


class Own(tf.Module):
    """Momentum as somebody else writes it: it has not heard of `where`."""

    def init(self, variables):
        self.velocities = {path: tf.Variable(tf.zeros_like(variable)) for path, variable in variables.items()}
        self.paths = lambda: {variable.ref(): path for path, variable in variables.items()}

    def apply(self, gradients, variables):
        for gradient, variable in zip(gradients, variables, strict=True):
            velocity = self.velocities[self.paths()[variable.ref()]]
            velocity.assign(0.9 * velocity + gradient)
            variable.assign_sub(0.1 * velocity)


RULES = {
    "Lookahead of Adam": lambda: optim.Lookahead(optim.Adam(0.02, amsgrad=True), 2),
    "Partition": lambda: optim.Partition(
        {"*.bias": optim.RMSprop(0.02, momentum=0.9, centered=True), "*": optim.Nadam(0.02)}
    ),
    "Lamb": lambda: optim.Lamb(0.02),
    "own": Own,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_step_that_does_not_count_moves_no_slot(rule):
    """One that weighs nothing, and one that is not finite and is skipped, between others."""
    arrays = weighted()
    arrays["inputs"] = np.where(np.arange(22)[:, np.newaxis] // 7 == 2, np.nan, arrays["inputs"])

    def run(jit_compile):
        options = {"precision": "float64", "on_non_finite": "skip", "steps_per_loop": 3}
        made = cuts.trainer(mlp, LOSS, rule, jit_compile=jit_compile, **options)
        trained(made, arrays, [9])
        assert made.compiled == jit_compile
        return cuts.values(made.state)

    state, expected = run("loop"), run(False)
    assert state.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(state[path], value, rtol=1e-9, atol=1e-13, err_msg=path)


@pytest.fixture(scope="module")
def whole():
    """A trainer that every test puts back to its beginning: XLA compiles once for all of them."""
    made = trainer("loop", small, momentum)
    return made, cuts.values(made.state)


def put_back(whole):
    made, beginning = whole
    cuts.assign(made.state, beginning)
    return made


@pytest.mark.parametrize(("stops", "steps_per_loop"), [((1, 4, 7, 11, 12, 26), 100), ((9, 26), 2)])
def test_bits_do_not_depend_on_where_the_loop_was_cut(whole, stops, steps_per_loop):
    """Into fits, calls and stacks; at, before and after the short last batch."""

    def run(stops, steps_per_loop):
        made = put_back(whole)
        made.steps_per_loop = steps_per_loop
        return trained(made, classified(22).arrays, stops)["loss"], engine.weights_sha256(made.model)

    made = put_back(whole)
    held = engine.trainable_variables(made.model)[0].read_value()
    expected, sha256 = run([26], 100)
    # As an asynchronous checkpoint holds it.
    np.testing.assert_array_equal(held, whole[1]["model.layers.0.kernel"])
    found, found_sha256 = run(stops, steps_per_loop)
    np.testing.assert_array_equal(found, expected)
    assert found_sha256 == sha256
    # Another program, and the same numbers.
    graph = trained(trainer(False, small, momentum), classified(22).arrays, [6])["loss"]
    np.testing.assert_allclose(graph, expected[:6], rtol=1e-5)


def test_a_step_that_is_not_finite_moves_nothing():
    """The third of a stack."""

    def run(jit_compile):
        arrays = dict(classified(20).arrays)
        arrays["inputs"] = np.where(np.arange(20)[:, None] == 9, np.float32(np.nan), arrays["inputs"])
        made = cuts.trainer(mlp, LOSS, lambda: optim.SGD(0.1), jit_compile=jit_compile)
        with pytest.raises(engine.NonFinite) as error:
            made.fit(cuts.Batches(arrays, 4), max_steps=5)
        return error.value.report.step, error.value.history.steps["loss"], cuts.values(made.state)

    (step, losses, state), (expected_step, expected_losses, expected_state) = run("loop"), run(False)
    assert step == expected_step == 3
    assert len(losses) == 2
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for path, value in expected_state.items():
        np.testing.assert_allclose(state[path], value, rtol=1e-4, atol=1e-6, err_msg=path)


def test_a_signal_ends_the_fit_after_the_stack_that_is_under_way_and_nothing_is_lost(whole):
    seen, made = [], put_back(whole)
    made.steps_per_loop = 8

    class Signals(cuts.Batches):
        def evaluation(self):
            def see(inputs):
                seen.append(1)
                if len(seen) == 21:
                    os.kill(os.getpid(), signal.SIGTERM)
                    while not made._stop:
                        time.sleep(0.001)
                return inputs

            def spied(batch):
                inputs = tf.numpy_function(see, [batch["inputs"]], tf.float32)
                return {**batch, "inputs": tf.ensure_shape(inputs, batch["inputs"].shape)}

            return super().evaluation().map(spied)

    arrays = classified(400).arrays
    history = made.fit(Signals(arrays, 7), epochs=1)
    assert history.stopped_by == "signal"
    # Of 58: stacks that were filled ahead are not computed.
    assert 0 < int(made.state.step) == len(history.steps["loss"]) < 58
    made.fit(cuts.Batches(arrays, 7), epochs=1)
    sha256, made = engine.weights_sha256(made.model), put_back(whole)
    made.fit(cuts.Batches(arrays, 7), epochs=1)
    assert engine.weights_sha256(made.model) == sha256


def wide(*more, units=1024):
    """A dense network of a size that is compiled by itself."""
    return layers.Sequential([layers.Dense(6, units), *more, layers.Dense(units, 16), layers.Dense(16, 3)])


def through_text(x):
    """Values to text and back, which XLA knows nothing of."""
    return tf.strings.to_number(tf.strings.as_string(tf.stop_gradient(x))) + x


def asserted(x):
    """An assertion, which XLA leaves out."""
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x < 1e9), [x])]):
        return tf.identity(x)


def pictured(x):
    """A convolution."""
    return x + tf.nn.conv1d(x[:, :, tf.newaxis], tf.ones([3, 1, 1]), 1, "SAME")[:, :, 0]


CHOICES = {
    "dense": (lambda: wide(layers.Dropout(0.5)), {}, "loop"),
    "done before it is compiled": (mlp, {}, False),
    "large": (lambda: wide(units=2**18), {}, False),
    "convolution": (lambda: wide(pictured), {}, False),
    "assertion": (lambda: wide(asserted), {}, False),
    "what XLA can't compile": (lambda: wide(through_text), {}, False),
    "accumulation": (wide, {"accumulate_steps": 2}, False),
    "half precision": (wide, {"precision": "bfloat16"}, False),
    "replicas": (wide, {"replicas": 2}, False),
    "numerics are checked": (wide, {"check_numerics": True}, False),
}


@pytest.mark.parametrize("name", CHOICES)
def test_auto_compiles_small_networks_that_suit_xla_and_nothing_else(name):
    model, options, expected = CHOICES[name]
    # The trace that XLA refused does not count.
    made = cuts.trainer(model, LOSS, lambda: optim.SGD(0.1), max_traces=1, **options)
    assert made.fit(cuts.Batches(classified(6).arrays, 3), max_steps=2).stopped_by == "max_steps"
    assert (made.compiled, made.traces) == (expected, 1)


def tokens(time, examples=4):
    ids = np.random.default_rng(0).integers(1, 200, (examples, time)).astype(np.int32)
    return {"inputs": ids, "labels": np.zeros(examples, np.int32)}


@pytest.mark.parametrize(
    ("model", "time", "suits"),
    [
        (lambda: nets.TextRNN(500, 3, cell="lstm"), 12, True),
        (lambda: nets.TextRNN(500, 3, cell="bilstm"), 12, True),
        (lambda: nets.TextRNN(500, 3, cell="gru"), 12, True),
        # Every width would be compiled.
        (lambda: nets.TextRNN(500, 3, cell="gru"), None, False),
        # Tens of seconds to compile.
        (lambda: nets.TransformerLM(500, features=32, blocks=2), 12, False),
    ],
    ids=["lstm", "bilstm", "gru", "any width", "transformer"],
)
def test_recurrent_networks_suit_xla_if_all_batches_are_of_one_width(model, time, suits):
    made = model()
    labels = [None] if hasattr(made, "recurrent") else [None, time]
    spec = {"inputs": tf.TensorSpec([None, time], tf.int32), "labels": tf.TensorSpec(labels, tf.int32)}
    assert compiling.suits_xla(made, engine.Supervised(LOSS), spec, tf.float32) is suits


def test_an_embedding_without_its_word_is_not_finite_in_either_loop():
    """Where XLA can't stop."""

    class Average(tf.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.dense = layers.Embedding(200, 100), layers.Dense(100, 3)

        def __call__(self, ids):
            return self.dense(tf.reduce_mean(self.embedding(ids), 1))

    arrays = tokens(5)
    made = engine.Trainer(Average(), LOSS, optim.SGD(0.1))
    made.fit(cuts.Batches(arrays, 4), max_steps=1)
    assert made.compiled == "loop"
    arrays["inputs"][2, 3] = 200
    with pytest.raises(engine.NonFinite, match=r"ids must lie in \[0, 200\), found 5 to 200|Embedding"):
        made.fit(cuts.Batches(arrays, 4), max_steps=2)
    assert int(made.state.step) == 1


class Texts(cuts.Batches):
    """Batches whose inputs are strings."""

    def evaluation(self):
        return super().evaluation().map(lambda batch: {**batch, "inputs": tf.strings.as_string(batch["inputs"])})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jit_compile": "always"}, r'jit_compile must be "auto", True, False or "loop", got \'always\''),
        ({"jit_compile": 1}, r'jit_compile must be "auto", True, False or "loop", got 1'),
        ({"jit_compile": "loop", "replicas": 2}, r'jit_compile="loop" is for one device: leave out the strategy, .*'),
        ({"jit_compile": "loop", "check_numerics": True}, r"check_numerics sees ops of one device without XLA: .*"),
        (
            {"jit_compile": "loop"},
            r'jit_compile="loop": XLA takes dense numbers, and the batch holds TensorSpec.*string.*',
        ),
    ],
)
def test_what_does_not_go_with_it_is_an_error_of_one_line(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        cuts.trainer(mlp, LOSS, lambda: optim.SGD(0.1), **options).fit(Texts(classified().arrays, 7), max_steps=1)
