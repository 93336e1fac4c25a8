import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

import engine
import layers
from layers import nets
from layers.nets.keras_weights import load_keras_weights
from layers.nets.residual import BasicBlock, Bottleneck
from layers.nets.resnet import keras_layers

STAGES = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")


def parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def agree(ours, theirs, relative):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=relative * np.abs(theirs).max())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Keras' ResNet50 in float64 with random weights and moving statistics; its weights as they were published."""
    # Inputs take floatx, layers the policy, which is remembered apart from floatx once one was set.
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        theirs = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3))
        outputs = [theirs.get_layer(name).output for name in STAGES]
        stages = keras.Model(theirs.input, [*outputs, theirs.output])
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    random = np.random.default_rng(0)
    for weight in theirs.weights:
        scale = np.sqrt(2 / np.prod(weight.shape[:-1])) if weight.name == "kernel" else 0.3
        value = random.normal(size=weight.shape) * scale
        value = np.exp(value) if weight.name in ("gamma", "moving_variance") else value
        # The file holds float32.
        weight.assign(value.astype("float32"))
    folder = tmp_path_factory.mktemp("published")
    bare = keras.Model(theirs.input, theirs.get_layer("conv5_block3_out").output)
    for name, model in (("top.h5", theirs), ("notop.h5", bare)):
        with h5py.File(folder / name, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return theirs, stages, folder


def computed(model, x, training):
    """What each stage of a classifier makes of x, and its probabilities."""
    y, outputs = model.backbone.stem(x, training=training), []
    for stage in range(2, 6):
        outputs.append(y := getattr(model.backbone, f"stage{stage}")(y, training=training))
    return [*outputs, tf.nn.softmax(model.head(model.backbone.pooling(y)))]


@pytest.fixture(scope="module")
def pictures():
    return tf.constant(np.random.default_rng(1).normal(size=[2, 64, 64, 3]) * 60)


def test_resnet50_with_published_weights_computes_what_keras_does_at_every_stage(published, pictures):
    _, stages, folder = published
    ours = nets.resnet50(pretrained=folder / "top.h5")
    for mine, other in zip(computed(ours, tf.cast(pictures, tf.float32), False), stages(pictures), strict=True):
        agree(mine, other, 1e-4)
    features = nets.resnet50(include_top=False, pooling="avg", pretrained=folder / "notop.h5")
    agree(ours.features(pictures[:1]), features(pictures[:1]), 1e-7)


def test_in_training_outputs_gradients_and_moving_statistics_are_those_of_keras(published, pictures):
    theirs, stages, folder = published
    ours = engine.cast(nets.resnet50(pretrained=folder / "top.h5"), "float64")
    pairs = []
    for names, layer in keras_layers(ours.backbone, ours.head).items():
        other = theirs.get_layer(names if isinstance(names, str) else names[0])
        pairs += [(getattr(layer, weight.name), weight) for weight in other.weights]
    assert len(pairs) == len(theirs.weights) == len(ours.variables)

    def differentiated(function, sources):
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            outputs = function()
            total = tf.add_n([tf.reduce_sum(tf.sin(y)) / float(tf.size(y)) for y in outputs])
        return outputs, tape.gradient(total, [pictures, *sources])

    trained = [pair for pair in pairs if pair[0].trainable]
    mine = differentiated(lambda: computed(ours, pictures, True), [pair[0] for pair in trained])
    other = differentiated(lambda: stages(pictures, training=True), [pair[1].value for pair in trained])
    for ours_is, theirs_is in zip(tf.nest.flatten(mine), tf.nest.flatten(other), strict=True):
        # A bias before a norm has the gradient 0, but for rounding.
        np.testing.assert_allclose(ours_is, theirs_is, rtol=0, atol=1e-7 * np.abs(theirs_is).max() + 1e-12)
    for variable, weight in pairs:
        agree(variable, weight.value, 1e-9)


def test_pixels_are_those_of_keras_caffe_mode():
    pictures = np.random.default_rng(0).integers(0, 256, [2, 5, 4, 3]).astype("float32")
    expected = keras.applications.resnet.preprocess_input(pictures.copy())
    np.testing.assert_allclose(nets.caffe_pixels()(pictures / 255), expected, atol=1e-4)


@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)])
def test_the_networks_for_cifar_have_the_papers_parameters(depth, count):
    # Table 6: 0.27M, 0.46M, 0.66M, 0.85M.
    with tf.Graph().as_default():
        model = nets.cifar_resnet((32, 32, 3), 10, depth)
        assert parameters(model) == count
        assert model(tf.zeros([2, 32, 32, 3])).shape == [2, 10]


def test_the_networks_for_imagenet_have_their_known_parameters():
    # Those of torchvision, whose convolutions have no biases.
    known = {nets.resnet18: 11_689_512, nets.resnet34: 21_797_672}
    for net, count in known.items():
        # Nothing is drawn in a graph.
        with tf.Graph().as_default():
            assert parameters(net()) == count


def test_a_deep_network_has_as_many_layers_as_its_name_says():
    with tf.Graph().as_default():
        backbone = nets.resnet101(include_top=False)
        convolutions = [layer for layer in keras_layers(backbone) if layer.endswith("_conv") and "_0_" not in layer]
    assert len(convolutions) + 1 == 101


def test_variables_go_by_stage_block_and_layer():
    paths = engine.names.variable_paths(nets.ResNet(3, (1, 2), (4, 8), small=True))
    expected = ["stem.conv.kernel", "stage2.block0.conv1.kernel", "stage3.block1.norm2.moving_mean"]
    assert set(expected) <= set(paths)
    assert "stage3.block0.shortcut.conv.kernel" in paths


def test_a_shortcut_without_weights_takes_every_second_pixel_and_adds_zeros():
    block = BasicBlock(2, 5, strides=2, projection=False)
    x = tf.random.stateless_normal([2, 6, 7, 2], [1, 2])
    beside = block.shortcut(x)
    np.testing.assert_array_equal(beside[..., :2], x[:, ::2, ::2])
    np.testing.assert_array_equal(beside[..., 2:], np.zeros([2, 3, 4, 3]))


def tiny():
    backbone = nets.ResNet(3, (1, 1, 1, 1), (2, 2, 2, 2), block=Bottleneck, use_bias=True)
    return backbone, keras_layers(backbone)


@pytest.fixture
def tiny_file(tmp_path):
    """Writes a file of a tiny network's weights, changed by `change(layers)`, a dict of dicts of arrays."""

    def write(change=lambda layers: None):
        random = np.random.default_rng(0)
        held = {
            name: {f"{name}/{field}:0": random.normal(size=getattr(layer, field).shape) for field in fields(layer)}
            for name, layer in tiny()[1].items()
        }
        change(held)
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            file.attrs["layer_names"] = np.array(list(held), "S")
            for name, weights in held.items():
                group = file.create_group(name)
                group.attrs["weight_names"] = np.array(list(weights), "S")
                for path, value in weights.items():
                    group.create_dataset(path, data=value)
        return tmp_path / "weights.h5"

    def fields(layer):
        return ("kernel", "bias") if hasattr(layer, "kernel") else ("gamma", "beta", "moving_mean", "moving_variance")

    return write


def test_weights_go_where_their_names_say(tiny_file):
    backbone, by_name = tiny()
    path = tiny_file()
    load_keras_weights(path, by_name)
    with h5py.File(path) as file:
        expected = file["conv3_block1_0_conv/conv3_block1_0_conv/kernel:0"][()]
    np.testing.assert_array_equal(backbone.stage3.block0.shortcut.conv.kernel, expected.astype("float32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.pop("conv2_block1_0_bn"), "expected layer conv2_block1_0_bn .*the file has none"),
        (lambda h: h.update(fc={"fc/kernel:0": np.zeros([3, 2])}), r"the file has layer fc \(kernel \[3, 2\]\)"),
        (lambda h: h["conv1_bn"].pop("conv1_bn/beta:0"), "layer conv1_bn must have"),
        (
            lambda h: h["conv4_block1_2_conv"].update({"conv4_block1_2_conv/bias:0": np.zeros([7])}),
            r"layer conv4_block1_2_conv must have .*'bias': \[2\].* the file has .*'bias': \[7\]",
        ),
        (
            lambda h: [h.pop(name) for name in list(h)] and h.update(block1_conv1={"b/kernel:0": np.zeros([1])}),
            "expected layer conv1_conv .*it has block1_conv1",
        ),
    ],
    ids=["missing", "extra", "a-weight-missing", "another-shape", "another-network"],
)
def test_the_first_layer_that_disagrees_is_named_and_nothing_is_set(tiny_file, change, message):
    backbone, by_name = tiny()
    before = [variable.numpy() for variable in backbone.variables]
    with pytest.raises(ValueError, match=message):
        load_keras_weights(tiny_file(change), by_name)
    for variable, value in zip(backbone.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_told(tiny_file, share):
    path = tiny_file()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"weights.h5: no file of weights, or a damaged one"):
        load_keras_weights(path, tiny()[1])


def test_a_file_of_another_kind_is_told(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("layers/vars/0", data=np.zeros(3))
    with pytest.raises(ValueError, match=r"x.h5: expected weights in Keras' legacy format"):
        load_keras_weights(tmp_path / "x.h5", tiny()[1])
    with pytest.raises(FileNotFoundError):
        load_keras_weights(tmp_path / "none.h5", tiny()[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nets.cifar_resnet((32, 32, 3), 10, 21), "depth must be 6n .*found 21"),
        (lambda: nets.ResNet(3, (1, 1), (4,)), "depths and filters must be of one length"),
        (lambda: nets.ResNet(3, (1, 0), (4, 4)), "depths must be a positive integer, found 0"),
        (lambda: nets.ResNet(3, (1,), (4,), pooling="mean"), "pooling must be 'avg', 'max' or None, found 'mean'"),
        (lambda: tiny()[0](tf.zeros([2, 32, 32, 1])), r"ResNet\(3.*expects a last dimension of 3, found 1"),
        (lambda: tiny()[0](tf.zeros([2, 32, 3])), r"ResNet\(3.*expects an input of rank 4"),
    ],
)
def test_what_a_network_cannot_take_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("size", [(1, 1), (7, 33)])
def test_any_height_and_width_will_do(size):
    backbone = tiny()[0]
    assert backbone(tf.zeros([2, *size, 3])).shape == [2, 8]


def test_a_network_is_saved_with_its_blocks(tmp_path):
    model = nets.Classifier(tiny()[0], layers.Dense(8, 3), dropout=0.1, pixels=nets.caffe_pixels())
    again = engine.load_model(engine.save_model(model, tmp_path / "model.h5"))
    x = tf.random.stateless_uniform([2, 9, 9, 3], [1, 2])
    np.testing.assert_array_equal(again(x), model(x))


def test_a_frozen_backbone_runs_in_inference_and_its_features_take_the_place_of_pictures():
    backbone = layers.Sequential([layers.GlobalAveragePool2D(), layers.Dropout(0.5), layers.BatchNorm(3)])
    model = nets.Classifier(backbone, layers.Dense(3, 4))
    x = tf.random.stateless_uniform([5, 4, 4, 3], [1, 2])
    assert np.any(model(x, training=True) != model(x, training=True))
    backbone.trainable = False
    before = backbone.layers[2].moving_mean.numpy()
    np.testing.assert_array_equal(model(x, training=True), model({"features": model.features(x)}, training=True))
    np.testing.assert_array_equal(before, backbone.layers[2].moving_mean)


def test_a_head_that_does_not_fit_its_backbone_is_refused():
    with pytest.raises(ValueError, match=r"Dense\(3, 4\) expects a last dimension of 3, found 8"):
        nets.Classifier(tiny()[0], layers.Dense(3, 4))
