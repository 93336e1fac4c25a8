import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import engine
from layers import nets
from layers.nets.efficientnet import InvertedResidual

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_the_network_has_the_papers_weights_and_stages():
    with tf.Graph().as_default():
        model = nets.efficientnet_lite0()
        # 4.652 million, the published count.
        assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == 4_652_008
        backbone, x, sizes = model.backbone, tf.zeros([1, 224, 224, 3]), []
        x = backbone.stem(x)
        for stage in range(2, 9):
            x = getattr(backbone, f"stage{stage}")(x)
            sizes.append((x.shape[1], x.shape[3]))
    # Table 1, but for the squeeze-and-excitation within.
    assert sizes == [(112, 16), (56, 24), (28, 40), (14, 80), (14, 112), (7, 192), (7, 320)]


@pytest.mark.parametrize(("filters", "strides", "expansion"), [(3, 1, 2), (5, 2, 3), (5, 1, 1)])
@pytest.mark.parametrize("training", [False, True])
def test_a_block_computes_what_the_same_layers_of_keras_do(filters, strides, expansion, training):
    block = engine.cast(InvertedResidual(3, filters, 5, strides, expansion=expansion), "float64")
    random = np.random.default_rng(0)
    for variable in block.variables:
        variable.assign(
            np.abs(random.normal(size=variable.shape))
            if "variance" in variable.name
            else random.normal(size=variable.shape)
        )
    x = random.normal(size=[4, 7, 6, 3])

    def theirs(kind, mine, *arguments, **options):
        layer = kind(*arguments, **options, dtype="float64")
        layer.build(
            [None, 7, 6, mine.last_dimension(None)]
            if kind is keras.layers.BatchNormalization
            else [None, 7, 6, mine.in_channels]
        )
        layer.set_weights([getattr(mine, weight.name).numpy() for weight in layer.weights])
        return layer

    def norm(mine):
        return theirs(keras.layers.BatchNormalization, mine)

    y = x
    if expansion > 1:
        y = theirs(keras.layers.Conv2D, block.expand, 3 * expansion, 1, use_bias=False)(y)
        y = keras.ops.relu6(norm(block.norm0)(y, training=training))
    options = {"strides": strides, "padding": "same", "use_bias": False}
    y = theirs(keras.layers.DepthwiseConv2D, block.depthwise, 5, **options)(y)
    y = keras.ops.relu6(norm(block.norm1)(y, training=training))
    y = norm(block.norm2)(theirs(keras.layers.Conv2D, block.project, filters, 1, use_bias=False)(y), training=training)
    y = x + y if (filters, strides) == (3, 1) else y
    np.testing.assert_allclose(block(x, training=training), y, rtol=0, atol=1e-12 * np.abs(y).max())


def test_depth_is_stochastic_in_training_alone_and_more_so_the_deeper():
    net = nets.EfficientNetLite(3, stages=((3, 3, 1, 1, 32),), features=4, dropout=0.3)
    rates = [block.dropout.rate for block in net.stage2.blocks]
    np.testing.assert_allclose(rates, [0.0, 0.1, 0.2])
    x = tf.random.stateless_normal([6, 8, 8, 3], [1, 2])
    np.testing.assert_array_equal(net(x), net(x))
    assert np.any(net(x, training=True) != net(x, training=True))


@pytest.fixture(scope="module")
def example():
    path = ROOT / "examples" / "convert_efficientnet_lite0.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tensors_of(model):
    """The model's variables in PyTorch's layouts: [out, in, height, width], [out, in]."""
    found = {}
    for path, variable in engine.names.variable_paths(model).items():
        value = variable.numpy()
        if path.endswith("kernel"):
            swaps = (2, 3, 0, 1) if "depthwise" in path else (3, 2, 0, 1)
            value = value.transpose(swaps) if value.ndim == 4 else value.T
        found[path] = value
        if path.endswith("moving_variance"):
            found[path.replace("moving_variance", "num_batches_tracked")] = np.zeros([], np.int64)
    return found


def small():
    backbone = nets.EfficientNetLite(3, stages=((1, 3, 1, 1, 4), (2, 5, 2, 6, 6)), features=8)
    return nets.Classifier(backbone, nets.efficientnet.Dense(8, 5))


def test_the_example_puts_tensors_where_they_belong_and_refuses_others(example):
    model, other = small(), small()
    x = tf.random.stateless_normal([2, 9, 8, 3], [1, 2])
    example.fill(other, tensors_of(model))
    np.testing.assert_array_equal(other(x), model(x))
    tensors = tensors_of(model)
    first = next(iter(tensors))
    with pytest.raises(ValueError, match=r"must be .* for backbone.stem.conv.kernel, the file has"):
        example.fill(other, {**tensors, first: tensors[first][:2]})
    tensors.pop(first)
    with pytest.raises(ValueError, match="expected 52 tensors, the file has 51"):
        example.fill(other, tensors)
