import numpy as np
import pytest
import tensorflow as tf

import engine
from layers import nets

PICTURES = np.random.default_rng(0).uniform(size=[6, 8, 8, 3]).astype(np.float32)


def net(**options):
    tf.random.set_seed(1)
    model = nets.FastCifar(3, 10, filters=(26, 30), **options)
    return model.fit(PICTURES)


def test_the_network_has_the_papers_weights():
    model = nets.fast_cifar((32, 32, 3), 10)
    kernels = [24 * 64, 64 * 64, 64 * 256, 256 * 256, 256 * 256, 256 * 256]
    betas = 24 + 2 * (64 + 256 + 256)
    assert engine.parameter_count(model) >= 9 * sum(kernels) + 10 * 256 + betas
    trained = sum(int(np.prod(variable.shape)) for variable in engine.trainable_variables(model))
    assert trained == 9 * sum(kernels) + 10 * 256 + betas


def test_a_new_network_is_its_activations_norms_and_poolings():
    model = net()
    model.head.kernel.assign(tf.eye(30, 10))
    y = tf.nn.gelu(tf.constant(model.whitening(PICTURES)))
    for size in (3, 1):
        # Where filters hand on what came in, a block pools, normalises and activates twice.
        y = tf.nn.max_pool2d(y, 2, 2, "VALID")
        assert y.shape[1] == size
        for _ in range(2):
            y = (y - tf.reduce_mean(y, [0, 1, 2])) / tf.sqrt(tf.math.reduce_variance(y, [0, 1, 2]) + 1e-5)
            y = tf.nn.gelu(y)
    expected = tf.reduce_max(y, [1, 2])[:, :10] / 9
    np.testing.assert_allclose(model(PICTURES, training=True), expected, atol=1e-4)


def test_a_mirrored_picture_has_the_same_logits_when_both_views_count():
    mirrored = PICTURES[:, :, ::-1]
    both, one = net(views=2), net()
    np.testing.assert_allclose(both(PICTURES), both(mirrored), atol=1e-5)
    assert np.abs(one(PICTURES) - one(mirrored)).max() > 1e-3
    np.testing.assert_allclose(both(PICTURES), (one(PICTURES) + one(mirrored)) / 2, atol=1e-5)


def test_six_views_are_a_picture_moved_by_one_pixel_and_mirrored():
    one, padded = net(), np.pad(PICTURES, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    logits = {
        move: (
            one(padded[:, move : move + 8, move : move + 8])
            + one(padded[:, move : move + 8, move : move + 8][:, :, ::-1])
        )
        / 2
        for move in (0, 1, 2)
    }
    np.testing.assert_allclose(net(views=6)(PICTURES), logits[1] / 2 + (logits[0] + logits[2]) / 4, atol=1e-5)


def test_views_are_for_inference_alone():
    np.testing.assert_array_equal(net()(PICTURES, training=True), net(views=6)(PICTURES, training=True))


@pytest.mark.parametrize("size", [5, 7, 10])
def test_pictures_of_other_sizes_and_channels_will_do(size):
    assert nets.fast_cifar((size, size, 1), 4, filters=(9, 8))(tf.zeros([2, size, size + 1, 1])).shape == [2, 4]


def test_it_learns_and_keeps_its_first_layer_in_a_file(tmp_path):
    model = net()
    before = model.whitening.kernel.numpy()
    labels = tf.constant([0, 1, 2, 3, 4, 5])
    for _ in range(20):
        with tf.GradientTape() as tape:
            logits = model(PICTURES, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = engine.trainable_variables(model)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(gradient)
    assert np.mean(tf.argmax(logits, 1) == tf.cast(labels, tf.int64)) == 1
    np.testing.assert_array_equal(model.whitening.kernel, before)
    loaded = engine.load_model(engine.save_model(model, tmp_path / "net.h5"))
    np.testing.assert_array_equal(loaded(PICTURES), model(PICTURES))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: nets.FastCifar(3, 10, views=3), "views must be one of 1, 2, 6, found 3"),
        (lambda: nets.FastCifar(3, 10, filters=()), "filters must name the width of at least one block"),
        (lambda: nets.FastCifar(3, 10, scale=0), "scale must be positive, found 0"),
        (lambda: net()(tf.zeros([1, 8, 8, 1])), "expects a last dimension of 3, found 1"),
        (lambda: net()(tf.zeros([1, 4, 4, 3])), "use a smaller window, less pooling before it"),
        (lambda: net(views=6)(tf.zeros([1, 1, 1, 3])), "use a smaller window, less pooling before it"),
    ],
)
def test_what_it_cannot_take_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()
