import numpy as np
import pytest
import tensorflow as tf

from layers import nets


def parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_the_mlp_is_the_tutorials_784_128_64_10():
    model = nets.mlp((28, 28, 1), 10)
    assert parameters(model) == 785 * 128 + 129 * 64 + 65 * 10
    assert model(tf.zeros([3, 28, 28, 1])).shape == [3, 10]


def test_the_convnet_is_the_tutorials():
    model = nets.convnet((28, 28, 1), 10)
    assert parameters(model) == 10 * 32 + (9 * 32 + 1) * 64 + (5 * 5 * 64 + 1) * 128 + 129 * 10
    assert model(tf.zeros([3, 28, 28, 1])).shape == [3, 10]


@pytest.mark.parametrize("net", [nets.mlp, nets.convnet])
def test_dropout_and_batch_norm_act_in_training_only(net):
    options = {"batch_norm": True} if net is nets.convnet else {}
    model = net((12, 12, 1), 4, dropout=0.5, **options)
    x = tf.random.stateless_normal([6, 12, 12, 1], [1, 2])
    np.testing.assert_array_equal(model(x), model(x))
    assert np.any(model(x, training=True) != model(x, training=True))


def test_a_global_seed_makes_a_network_reproducible():
    def weights(seed):
        tf.random.set_seed(seed)
        return [variable.numpy() for variable in nets.convnet((8, 8, 1), 3, filters=(4,), units=(5,)).variables]

    for one, other in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.any(one != other) for one, other in zip(weights(1), weights(2), strict=True))


def test_an_image_too_small_for_the_blocks_is_refused_by_name():
    with pytest.raises(ValueError, match=r"MaxPool2D\(\) cannot take .* from layer"):
        nets.convnet((8, 8, 1), 10, filters=(4, 4, 4))
