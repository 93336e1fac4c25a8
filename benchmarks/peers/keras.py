"""Keras: `fit`, `evaluate` and `predict` as a user writes them, or with the fastest of its options."""

import re
import time

import keras
import numpy as np
from keras import layers

from benchmarks.works import EPSILON, MOMENTUM


@keras.saving.register_keras_serializable()
class Positions(layers.Layer):
    """x plus a learned vector for each position."""

    def __init__(self, time, features):
        super().__init__()
        self.embeddings = self.add_weight(shape=(time, features), name="embeddings")

    def call(self, x):
        return x + self.embeddings


@keras.saving.register_keras_serializable()
class Subsampling(layers.Layer):
    """A shortcut without weights: every second pixel, zeros for the new channels."""

    def call(self, x):
        x = x[:, ::2, ::2]
        return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, x.shape[-1]]])


def network(work):
    """(model, {the names of a layer's weights but for the last part: the layer})."""
    named, sizes = {}, work.sizes
    inputs = keras.Input(work.inputs, dtype="int32" if len(work.inputs) == 1 else "float32")

    def add(name, layer, *arguments, **options):
        named[name] = layer
        return layer(*arguments, **options)

    x = inputs
    if work.network == "mlp":
        x = layers.Flatten()(x)
        for number, units in enumerate((128, 64), 1):
            x = add(f"layers.{number}", layers.Dense(units, activation="relu"), x)
        x = add("layers.3", layers.Dense(work.classes), x)
    elif work.network == "convnet":
        for number, filters in enumerate((32, 64, 128)):
            x = add(f"layers.{2 * number}", layers.Conv2D(filters, 3, activation="relu"), x)
            x = layers.MaxPooling2D()(x)
        x = add("layers.7", layers.Dense(128, activation="relu"), layers.Flatten()(x))
        # As Keras' guide to mixed precision has it: the last layer in float32.
        x = layers.Activation("linear", dtype="float32")(add("layers.8", layers.Dense(work.classes), x))
    elif work.network == "resnet":
        x = _resnet(add, x, work)
    elif work.network == "resnet50":
        backbone = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg", input_shape=work.inputs)
        backbone.trainable = False
        named |= {_path(layer.name): layer for layer in backbone.layers if layer.weights}
        x = add("head", layers.Dense(work.classes), backbone(x, training=False))
    elif work.network == "transformer":
        x = _transformer(add, x, work)
    else:
        embedding = layers.Embedding(sizes["vocabulary"], sizes["features"], mask_zero=sizes["masked"])
        x = add("embedding", embedding, x)
        if work.network == "bilstm":
            both = layers.Bidirectional(layers.LSTM(sizes["units"]))
            x = both(x)
            named["recurrent.forward_layer.cell"] = both.forward_layer
            named["recurrent.backward_layer.cell"] = both.backward_layer
        else:
            kind = layers.GRU if work.network == "gru" else layers.LSTM
            x = add("recurrent.cell", kind(sizes["units"]), x)
        x = add("dense", layers.Dense(work.classes), x)
    return keras.Model(inputs, x), named


def _resnet(add, x, work):
    def conv_norm(x, conv, norm, filters, strides=1):
        convolution = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)
        return add(norm, layers.BatchNormalization(epsilon=1.001e-5), add(conv, convolution, x))

    x = layers.ReLU()(conv_norm(x, "backbone.stem.conv", "backbone.stem.norm", 16))
    for stage, filters in ((2, 16), (3, 32), (4, 64)):
        for number in range(3):
            block, strides = f"backbone.stage{stage}.block{number}", 2 if stage > 2 and number == 0 else 1
            y = layers.ReLU()(conv_norm(x, f"{block}.conv1", f"{block}.norm1", filters, strides))
            y = conv_norm(y, f"{block}.conv2", f"{block}.norm2", filters)
            x = layers.ReLU()(layers.Add()([y, Subsampling()(x) if strides == 2 else x]))
    return add("head", layers.Dense(work.classes), layers.GlobalAveragePooling2D()(x))


def _path(name):
    """Ours of a layer of Keras' ResNet50: conv2_block1_0_bn is backbone.stage2.block0.shortcut.norm."""
    *place, kind = name.split("_")
    kind = {"conv": "conv", "bn": "norm"}[kind]
    if len(place) == 1:
        return f"backbone.stem.{kind}"
    stage, block, number = (int(re.sub("[a-z]", "", part)) for part in place)
    return f"backbone.stage{stage}.block{block - 1}." + (f"{kind}{number}" if number else f"shortcut.{kind}")


def _transformer(add, x, work):
    features, heads = work.sizes["features"], work.sizes["heads"]

    def norm(x, name):
        return add(name, layers.LayerNormalization(epsilon=1e-5), x)

    x = add("embedding", layers.Embedding(work.classes, features), x)
    x = add("positions", Positions(*work.inputs, features), x)
    for number in range(work.sizes["blocks"]):
        block = f"blocks.{number}"
        y = norm(x, f"{block}.self_attention_norm")
        attention = layers.MultiHeadAttention(heads, features // heads)
        x = layers.Add()([x, add(f"{block}.self_attention", attention, y, y, use_causal_mask=True)])
        y = norm(x, f"{block}.feedforward_norm")
        y = add(f"{block}.hidden_dense", layers.Dense(4 * features, activation="gelu"), y)
        x = layers.Add()([x, add(f"{block}.output_dense", layers.Dense(features), y)])
    return add("dense", layers.Dense(work.classes), norm(x, "norm"))


class First(keras.callbacks.Callback):
    """The loss of each step by itself; ends training after some."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.losses = steps, []

    def on_train_batch_begin(self, batch, logs=None):
        # Else the loss would be the mean over the epoch so far.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        if len(self.losses) == self.steps:
            self.model.stop_training = True


class Contender:
    def __init__(self, work, weights, arrays, tuned=False):
        keras.config.set_dtype_policy("mixed_bfloat16" if work.precision == "bfloat16" else "float32")
        self.work, self.weights, (self.x, self.y) = work, weights, arrays
        self.model, named = network(work)
        used = set()
        for name, layer in named.items():
            own = [key for key in weights if key.startswith(f"{name}.")]
            used.update(own)
            layer.set_weights([weights[key] for key in own])
        if used != set(weights):
            raise ValueError(f"weights without a layer: {sorted(set(weights) - used)}")
        self.initial = self.model.get_weights()
        self.note, self.steps_per_execution = "", 1
        if tuned:
            self._tune()
        else:
            self._compile()

    def _compile(self, steps_per_execution=1, jit_compile="auto"):
        kind = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[self.work.optimizer]
        options = {"epsilon": EPSILON} if self.work.optimizer == "adam" else {"momentum": MOMENTUM}
        self.model.compile(
            kind(self.work.learning_rate, **options),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )

    def _tune(self):
        """Tries each combination for a moment, and takes the fastest. "auto" is one of on and off, so those will do."""
        tried = {}
        for jit_compile in (True, False):
            for steps in (1, 32):
                self._compile(steps, jit_compile)
                try:
                    self.epochs(self.work.fit_epochs)
                    begun, count = time.perf_counter(), 0
                    while time.perf_counter() - begun < 0.5:
                        self.epochs(self.work.fit_epochs)
                        count += 1
                    tried[jit_compile, steps] = (time.perf_counter() - begun) / count
                except Exception as error:
                    # One that can't run is no candidate; that none can is an error below.
                    print(f"Keras with jit_compile={jit_compile}, steps_per_execution={steps}: {error}")
        jit_compile, self.steps_per_execution = min(tried, key=tried.get)
        self.note = f"jit_compile={jit_compile}, steps_per_execution={self.steps_per_execution}"
        self._compile(self.steps_per_execution, jit_compile)
        self.model.set_weights(self.initial)

    def first(self, steps):
        """steps_per_execution is 1 for these, since what runs in one call has one loss; then what it was again."""
        if self.work.task == "evaluate":
            return [self.model.evaluate(self.x, self.y, batch_size=self.work.batch, verbose=0)]
        if self.work.task == "predict":
            return np.ravel(self.model.predict(self.x, batch_size=self.work.batch, verbose=0)[:2])
        chosen, callback = self.steps_per_execution, First(steps)
        if chosen > 1:
            self._compile(1, self.model.jit_compile)
        some = {"epochs": -(-steps // self.work.batches), "batch_size": self.work.batch}
        self.model.fit(self.x, self.y, **some, shuffle=False, verbose=0, callbacks=[callback])
        if chosen > 1:
            self._compile(chosen, self.model.jit_compile)
        return callback.losses

    def epochs(self, count):
        options = {"batch_size": self.work.batch, "verbose": 0}
        if self.work.task in ("train", "transfer"):
            self.model.fit(self.x, self.y, epochs=count, **options)
            return
        for _ in range(count):
            if self.work.task == "evaluate":
                self.model.evaluate(self.x, self.y, **options)
            else:
                self.model.predict(self.x, **options)
