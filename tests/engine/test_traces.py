"""What the loop is traced for, and what is refused before it is: each in one line that names what is wrong."""

import cuts
import numpy as np
import pytest
import tensorflow as tf
from parts import classified, mlp, trainer

import data
import engine
import layers
import optim
from engine import traces


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def said(caplog, words):
    return [message for message in warnings(caplog) if words in message]


class FreezesAt(engine.hooks.Hook):
    """Freezes a layer after some steps, and thaws it after others."""

    def __init__(self, layer, freezes=(), thaws=()):
        super().__init__("freezes")
        # Behind a function, where no one takes the layer for a part of the hook.
        self._layer = lambda: layer
        self._at = {**dict.fromkeys(freezes, False), **dict.fromkeys(thaws, True)}

    def on_boundary(self, run):
        if run.step in self._at:
            self._layer().trainable = self._at[run.step]


# The number of replicas, of micro-batches, and XLA.
CUTS = [(1, 1, False), (2, 1, False), (1, 3, False), (2, 2, False), (1, 1, True)]


@pytest.mark.parametrize(("replicas", "parts", "jit_compile"), CUTS)
def test_a_fit_traces_once_however_the_batch_is_cut(caplog, replicas, parts, jit_compile):
    """Over several epochs, loops of several lengths, and a last batch that is short."""
    with cuts.scope(replicas):
        model, optimizer = mlp(), optim.Adam(0.01)
    options = {"strategy": cuts.strategy(replicas), "accumulate_steps": parts, "jit_compile": jit_compile}
    made = trainer(model, optimizer=optimizer, steps_per_loop=3, max_traces=1, **options)
    pipeline = data.Pipeline(classified(), 7)
    assert made.fit(pipeline, epochs=2, validation=data.Pipeline(classified(9), 4)).traces == 1
    # Nor does a second fit trace, of the same pipeline or of one that gives the same kind of batch.
    for again in (pipeline, data.Pipeline(classified(40, seed=1), 7)):
        assert made.fit(again, epochs=int(made.state.epoch) + 1).traces == 0
    assert made.traces == 1
    assert not said(caplog, "traced")


def test_freezing_between_loops_traces_once_more_and_says_what_is_frozen(caplog):
    """Thawing, and freezing once more, find their traces again."""
    model = mlp()
    frozen, weights = model.layers[0], []
    made = trainer(model, steps_per_loop=2)
    hook = FreezesAt(frozen, freezes=(2, 6), thaws=(4,))
    for step in (2, 4, 6, 8):
        made.fit(data.Pipeline(classified(), 7), max_steps=step, hooks=[hook])
        weights.append(cuts.values(frozen)["kernel"])
    assert made.traces == 2
    assert said(caplog, "traced") == [
        "the training loop is traced once more: frozen was none, is layers.0.kernel, layers.0.bias"
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[2] - weights[1]).max() > 0
    np.testing.assert_array_equal(weights[2], weights[3])


class Norms(engine.hooks.Hook):
    """Asks for norms."""

    norms = True


def other_dtype():
    return {"train": data.Pipeline(classified(dtype=np.float64), 7)}


def other_labels():
    source = classified()
    return {"train": data.Pipeline(data.Arrays(source.arrays["inputs"], source.arrays["labels"].astype(np.int64)), 7)}


def weighted():
    source = classified()
    weights = np.ones(50, np.float32)
    return {"train": data.Pipeline(data.Arrays(source.arrays["inputs"], source.arrays["labels"], weights), 7)}


def frozen():
    return {"train": data.Pipeline(classified(), 7), "freeze": True}


def with_norms():
    return {"train": data.Pipeline(classified(), 7), "hooks": [Norms("norms")]}


@pytest.mark.parametrize(
    ("second", "changed"),
    [
        (other_dtype, r"batch\['inputs'\] was TensorSpec\(.*float32.*\), is TensorSpec\(.*float64.*\)"),
        (other_labels, r"batch\['labels'\] was TensorSpec\(.*int32.*\), is TensorSpec\(.*int64.*\)"),
        (weighted, r"batch\['weights'\] was None, is TensorSpec\(.*\)"),
        (frozen, r"frozen was none, is layers.0.kernel, layers.0.bias"),
        (with_norms, r"norms was False, is True"),
    ],
)
def test_a_trace_too_many_is_an_error_that_names_what_changed_and_nothing_else(second, changed):
    model = mlp()
    made = trainer(model, max_traces=1)
    made.fit(data.Pipeline(classified(), 7), epochs=1)
    before, arguments = cuts.values(made.state), second()
    model.layers[0].trainable = not arguments.pop("freeze", False)
    with pytest.raises(
        engine.TooManyTraces, match=f"^the training loop is traced once more: {changed}; max_traces allows 1$"
    ) as error:
        made.fit(**arguments, epochs=2)
    assert str(error.value).count(" was ") == 1
    np.testing.assert_equal(cuts.values(made.state), before)
    assert made.traces == 1


def test_without_a_limit_another_trace_is_reported_and_trains(caplog):
    made = trainer()
    made.fit(data.Pipeline(classified(), 7), epochs=1)
    assert made.fit(**other_dtype(), epochs=2).traces == 1
    (message,) = said(caplog, "traced")
    assert message.startswith("the training loop is traced once more: batch['inputs'] was TensorSpec(")
    assert int(made.state.epoch) == 2


def test_what_changed_without_a_fact_is_not_blamed_on_one():
    made = traces.Traces(limit=1)
    made.get("training", {"norms": False}, lambda: None)
    made.traced()
    made.get("training", {"norms": False}, lambda: None)
    with pytest.raises(engine.TooManyTraces, match="a Python argument or the devices changed"):
        made.traced()


def test_a_limit_below_1_is_refused():
    with pytest.raises(ValueError, match=r"^max_traces must be at least 1, got 0$"):
        trainer(max_traces=0)


def one_line(message):
    return f"^{message}[^\n]*$"


def test_a_model_made_outside_the_scope_is_refused_by_its_first_variable():
    """Each replica would update the one copy."""
    with pytest.raises(ValueError, match=one_line(r"variable layers\.0\.kernel of the model was made outside the")):
        trainer(mlp(), strategy=cuts.strategy(2))


def test_an_optimizer_initialised_outside_the_scope_is_refused_by_its_first_variable():
    with cuts.scope(2):
        model = mlp()
    rule = optim.Adam(0.01)
    rule.init(engine.variable_paths(model))
    with pytest.raises(
        ValueError,
        match=one_line(r"variable slots\.m\.layers\.0\.kernel of the optimizer was made outside the strategy's"),
    ):
        trainer(model, optimizer=rule, strategy=cuts.strategy(2))


def test_a_mirrored_model_without_its_strategy_is_refused():
    with cuts.scope(2):
        model = mlp()
    message = one_line(r"variable layers\.0\.kernel of the model was made in a strategy's scope: give the strategy")
    with pytest.raises(ValueError, match=message):
        trainer(model)


def test_what_is_no_strategy_is_refused():
    with pytest.raises(TypeError, match=r"^strategy must be a tf\.distribute\.Strategy or None, got 'mirrored'$"):
        trainer(strategy="mirrored")


def test_slices_that_stay_empty_are_warned_of_once_a_fit_and_train_all_the_same(caplog):
    """3 examples on 2 replicas of 2 micro-batches; then 4, which leave none empty."""
    source = classified(12)

    def losses(replicas, parts, batch_size):
        with cuts.scope(replicas):
            model, optimizer = engine.cast(mlp(), "float64"), optim.SGD(0.5)
        options = {"strategy": cuts.strategy(replicas), "accumulate_steps": parts, "precision": "float64"}
        made = trainer(model, optimizer=optimizer, **options)
        return made.fit(data.Pipeline(source, batch_size), epochs=2).steps["loss"]

    found = losses(2, 2, 3)
    assert said(caplog, "cut into") == [
        "a batch of 3 is cut into 4 slices (replicas × accumulate_steps): some stay empty"
    ]
    caplog.clear()
    np.testing.assert_allclose(found, losses(1, 1, 3), rtol=1e-12)
    losses(2, 2, 4)
    assert not said(caplog, "cut into")


def through_text(x):
    """Values to text and back, which XLA knows nothing of."""
    return tf.strings.to_number(tf.strings.as_string(tf.stop_gradient(x))) + x


@pytest.mark.parametrize(("replicas", "parts"), [(1, 1), (2, 1), (1, 2)])
def test_what_xla_cannot_compile_is_an_error_that_names_jit_compile_and_the_operation(replicas, parts):
    with cuts.scope(replicas):
        model, optimizer = layers.Sequential([layers.Dense(6, 3), through_text]), optim.SGD(0.1)
    options = {"optimizer": optimizer, "strategy": cuts.strategy(replicas), "accumulate_steps": parts}
    with pytest.raises(
        ValueError, match=one_line("jit_compile: XLA can't compile this step, train without it: .*AsString")
    ):
        trainer(model, jit_compile=True, **options).fit(data.Pipeline(classified(), 7), max_steps=1)
    assert trainer(model, **options).fit(data.Pipeline(classified(), 7), max_steps=1).stopped_by == "max_steps"
