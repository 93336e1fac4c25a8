"""Networks for text: padding is not there, the future is not seen, a cache changes nothing; and what sampling is."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from engine import testing
from layers import nets

CLASSIFIERS = {
    "average": lambda: nets.TextAverage(20, 3, output_dim=6),
    **{
        cell: lambda cell=cell: nets.TextRNN(20, 3, cell=cell, output_dim=6, units=4)
        for cell in ("lstm", "gru", "bilstm")
    },
    "gru mean": lambda: nets.TextRNN(20, 3, cell="gru", output_dim=6, units=4, pooling="mean"),
}
MODELS = {
    "transformer": lambda: nets.TransformerLM(11, features=8, num_heads=2, blocks=2),
    "lstm": lambda: nets.RecurrentLM(11, features=8, units=5, blocks=2),
}
IDS = np.array([[3, 9, 4, 1], [5, 2, 0, 0], [7, 0, 0, 0]], np.int32)
TOKENS = np.array([[3, 9, 4, 1, 0, 7], [5, 2, 10, 8, 2, 2]], np.int32)


@pytest.fixture(params=CLASSIFIERS)
def classifier(request):
    tf.random.set_seed(1)
    return CLASSIFIERS[request.param]()


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    tf.random.set_seed(1)
    return MODELS[request.param]()


def test_padding_changes_no_output(classifier):
    longer = np.pad(IDS, [[0, 0], [0, 3]])
    np.testing.assert_allclose(classifier(longer), classifier(IDS), atol=1e-6)
    np.testing.assert_allclose(classifier(IDS[2:, :1]), classifier(IDS)[2:], atol=1e-6)
    assert np.all(np.isfinite(classifier(np.zeros([1, 4], np.int32))))


def test_padding_has_no_gradient(classifier):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(classifier(IDS) ** 2)
    gradient = tf.convert_to_tensor(tape.gradient(loss, classifier.embedding.embeddings)).numpy()
    assert np.all(gradient[0] == 0)
    assert np.all(np.any(gradient[np.unique(IDS[IDS > 0])] != 0, 1))


def test_dropout_acts_in_training_only():
    for net in (nets.TextAverage(20, 3, dropout=0.5), nets.TextRNN(20, 3, dropout=0.5)):
        np.testing.assert_array_equal(net(IDS), net(IDS))
        assert np.any(net(IDS, training=True) != net(IDS, training=True))


def test_an_average_is_that_of_the_embeddings():
    net = CLASSIFIERS["average"]()
    rows = net.embedding.embeddings.numpy()[IDS[1, :2]].mean(0)
    np.testing.assert_allclose(net(IDS)[1], rows @ net.dense.kernel.numpy() + net.dense.bias.numpy(), atol=1e-6)


def test_the_gradient_of_a_masked_average_is_right():
    testing.check_gradients(nets.TextAverage(10, 2, output_dim=2), [tf.constant(IDS)])


def test_another_cell_or_pooling_is_refused():
    with pytest.raises(ValueError, match="cell must be one of lstm, gru, bilstm, found 'rnn'"):
        nets.TextRNN(20, 3, cell="rnn")
    with pytest.raises(ValueError, match="pooling must be one of last, mean, found 'max'"):
        nets.TextRNN(20, 3, pooling="max")


def test_a_mean_over_tokens_is_that_of_what_shorter_texts_end_with():
    net = CLASSIFIERS["gru mean"]()
    last = nets.TextRNN(20, 3, cell="gru", output_dim=6, units=4)
    for ours, its in zip(last.variables, net.variables, strict=True):
        ours.assign(its)
    found = np.mean([last(IDS[:1, : 1 + time]) for time in range(4)], 0)
    np.testing.assert_allclose(net(IDS[:1]), found, atol=1e-6)


def test_no_logit_sees_a_later_token(model):
    changed = TOKENS.copy()
    changed[:, 4:] = 6
    np.testing.assert_array_equal(model(TOKENS)[:, :4], model(changed)[:, :4])
    assert np.any(model(TOKENS)[:, 4:] != model(changed)[:, 4:])


@pytest.mark.parametrize("kind", MODELS)
def test_a_cache_gives_the_logits_of_the_whole(kind):
    tf.random.set_seed(1)
    if kind == "transformer":
        model = nets.TransformerLM(11, features=8, num_heads=2, blocks=2, dtype=tf.float64)
    else:
        model = nets.RecurrentLM(11, features=8, units=5, blocks=2, dtype=tf.float64)
    whole = model(TOKENS)
    for parts in ([6], [1] * 6, [2, 3, 1]):
        cache, found = model.cache(2, 6), []
        for ids in np.split(TOKENS, np.cumsum(parts)[:-1], 1):
            logits, cache = model(ids, cache=cache)
            found.append(logits)
        np.testing.assert_allclose(tf.concat(found, 1), whole, atol=1e-12)


def test_greedy_generation_is_what_the_whole_model_finds_likeliest(model):
    # A prompt of one token has the shape of every further step: one function is traced, and not two.
    ids = TOKENS[:, :1]
    found = nets.generate(model, ids, 5, top_k=1).numpy()
    np.testing.assert_array_equal(found, likeliest(model, ids, 5))


def likeliest(model, ids, length):
    for _ in range(length):
        ids = np.concatenate([ids, np.argmax(model(ids)[:, -1], -1)[:, None].astype(np.int32)], 1)
    return ids[:, -length:]


def test_a_longer_prompt_is_read_whole_and_a_temperature_of_0_is_greedy():
    model = MODELS["lstm"]()
    found = nets.generate(model, TOKENS, 3, temperature=0).numpy()
    np.testing.assert_array_equal(found, likeliest(model, TOKENS, 3))


def test_generation_is_a_function_of_the_seed():
    tf.random.set_seed(1)
    model = nets.RecurrentLM(11, features=8, units=5)
    one, same, other = (nets.generate(model, TOKENS[:, :1], 12, seed=seed).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=8)
GRID = (np.arange(1000) + 0.5) / 1000


@given(LOGITS, st.floats(0.1, 3), st.none() | st.integers(1, 9), st.floats(0.05, 1))
def test_over_all_uniforms_classes_come_as_often_as_they_are_likely(logits, temperature, top_k, top_p):
    rows = np.repeat(np.float32([logits]), len(GRID), 0)
    found = nets.sample(tf.constant(rows), GRID, temperature=temperature, top_k=top_k, top_p=top_p).numpy()
    order = np.argsort(-rows[0], kind="stable")[: top_k or len(logits)]
    p = special.softmax(rows[0, order].astype(np.float64) / temperature)
    reached = np.cumsum(p)
    # What ends within rounding of top_p may fall either way.
    few = 1 + np.sum(reached[:-1] < top_p - 1e-9)
    many = 1 + np.sum(reached[:-1] < top_p + 1e-9)
    counts = np.bincount(found, minlength=len(logits))[order] / len(GRID)
    expected = [np.where(np.arange(len(p)) < kept, p, 0) / p[:kept].sum() for kept in (few, many)]
    assert min(np.abs(counts - each).max() for each in expected) <= 1.01 / len(GRID)


LIMITS = [{"temperature": 0}, {"temperature": 1e-9}, {"temperature": 1e-320}, {"top_p": 1e-9}, {"top_k": 1}]


@pytest.mark.parametrize("options", LIMITS)
def test_at_their_limits_all_options_take_the_largest(options):
    logits = np.random.default_rng(0).normal(size=[1000, 7])
    np.testing.assert_array_equal(nets.sample(tf.constant(logits), GRID, **options), logits.argmax(1))


def test_options_of_sampling_outside_their_ranges_are_refused():
    for options in ({"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}, {"temperature": float("nan")}):
        with pytest.raises(ValueError, match="sample: expected temperature >= 0"):
            nets.sample(tf.zeros([1, 3]), [0.5], **options)
    with pytest.raises(ValueError, match="generate: expected a prompt"):
        nets.generate(MODELS["lstm"](), np.zeros([1, 0]), 5)
