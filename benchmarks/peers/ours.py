"""Tapeline, with the Trainer's own defaults."""

import tensorflow as tf

import data
import engine
import layers
import optim
from benchmarks.works import EPSILON, MOMENTUM
from layers import nets


class TextClassifier(tf.Module):
    """Embedding without a mask, LSTM, classes: the tutorial's."""

    def __init__(self, vocabulary, features, units, classes):
        super().__init__()
        self.embedding = layers.Embedding(vocabulary, features)
        self.recurrent = layers.LSTM(features, units)
        self.dense = layers.Dense(units, classes)

    def __call__(self, ids, training=False):
        return self.dense(self.recurrent(self.embedding(ids), training=training))


class Transformer(tf.Module):
    """A language model with learned positions, which every peer has."""

    def __init__(self, tokens, time, blocks, features, heads):
        super().__init__()
        self.embedding = layers.Embedding(tokens, features)
        self.positions = layers.PositionEmbedding(time, features)
        options = {"norm_first": True, "activation": "gelu"}
        self.blocks = [layers.TransformerDecoderBlock(features, heads, 4 * features, **options) for _ in range(blocks)]
        self.norm = layers.LayerNorm(features, epsilon=1e-5)
        self.dense = layers.Dense(features, tokens)

    def __call__(self, ids, training=False):
        x = self.positions(self.embedding(ids))
        for block in self.blocks:
            x = block(x, training=training)
        return self.dense(self.norm(x))


def network(work):
    """A work's network, from fresh initial values."""
    sizes = work.sizes
    if work.network == "mlp":
        return nets.mlp(work.inputs, work.classes)
    if work.network == "convnet":
        return nets.convnet(work.inputs, work.classes, filters=(32, 64, 128))
    if work.network == "resnet":
        return nets.cifar_resnet(work.inputs, work.classes, depth=20)
    if work.network == "resnet50":
        model = nets.resnet50(work.inputs, work.classes)
        engine.freeze(model.backbone)
        return model
    if work.network == "lstm":
        return TextClassifier(sizes["vocabulary"], sizes["features"], sizes["units"], work.classes)
    if work.network == "transformer":
        return Transformer(work.classes, *work.inputs, **sizes)
    options = {"output_dim": sizes["features"], "units": sizes["units"]}
    return nets.TextRNN(sizes["vocabulary"], work.classes, cell=work.network, **options)


def initial_weights(work):
    """{name: array}: what all contenders begin with."""
    tf.random.set_seed(1)
    weights = {path: variable.numpy() for path, variable in engine.variable_paths(network(work)).items()}
    if work.task == "transfer":
        # As small as trained blocks make theirs: else features reach thousands, and a step of the head leaps.
        weights |= {path: 0.2 * value for path, value in weights.items() if path.endswith("norm3.gamma")}
    return weights


def optimizer(work):
    """A work's update rule."""
    if work.optimizer == "sgd":
        return optim.SGD(work.learning_rate, momentum=MOMENTUM)
    return optim.Adam(work.learning_rate, epsilon=EPSILON)


def _as_features(batch):
    return {**batch, "inputs": {"features": batch["inputs"]}}


class Contender:
    note = ""

    def __init__(self, work, weights, arrays, **options):
        """options: of the Trainer, instead of its defaults."""
        self.work = work
        model = network(work)
        for path, variable in engine.variable_paths(model).items():
            variable.assign(weights[path])
        loss = "sparse_categorical_crossentropy"
        self.trainer = engine.Trainer(model, loss, optimizer(work), precision=work.precision, **options)
        source = data.Arrays(*arrays)
        self.ordered = data.Pipeline(source, work.batch, shuffle=False)
        self.shuffled = data.Pipeline(source, work.batch)

    def _of_features(self, shuffle):
        """A pipeline of what the frozen backbone makes of the pictures, which is computed here."""
        found = engine.features(self.trainer.model, self.ordered)
        kept = data.Arrays(found["inputs"], found["labels"])
        return data.Pipeline(kept, self.work.batch, shuffle=shuffle, transform=_as_features)

    def first(self, steps):
        if self.work.task == "evaluate":
            return [self.trainer.evaluate(self.ordered)["loss"]]
        if self.work.task == "predict":
            return self.trainer.predict(self.ordered)[:2].ravel()
        ordered = self._of_features(shuffle=False) if self.work.task == "transfer" else self.ordered
        return self.trainer.fit(ordered, max_steps=steps).steps["loss"]

    def epochs(self, count):
        if self.work.task == "train":
            self._fit(self.shuffled, count)
        elif self.work.task == "transfer":
            for _ in range(count // self.work.fit_epochs):
                self._fit(self._of_features(shuffle=True), self.work.fit_epochs)
        else:
            self._infer(count)

    def _fit(self, pipeline, epochs):
        done = int(self.trainer.state.step)
        self.trainer.fit(pipeline, max_steps=done + epochs * self.work.batches)

    def _infer(self, count):
        for _ in range(count):
            self.trainer.evaluate(self.ordered) if self.work.task == "evaluate" else self.trainer.predict(self.ordered)
