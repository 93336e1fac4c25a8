"""A loop of one's own around `engine.step`: what `Trainer.fit` does, bare, with a rule of its own when to end.

    python examples/own_loop.py

Epoch, batch and step are plain numbers here. The pipeline's order, augmentation and dropout are functions of (seed,
position), so this loop sees the very batches and masks of a Trainer with that seed, and has its losses.
"""

import tensorflow as tf

import data
import engine
import layers
import optim


def fit(model, objective, rule, train, patience=2, most_epochs=20, seed=0):
    """Trains until the loss of `patience` epochs in a row was no new best; (the losses by step, the epochs)."""
    variables = engine.trainable_variables(model)
    rule.init({path: variable for path, variable in engine.variable_paths(model).items() if variable.trainable})

    # The engine needs no AutoGraph, which would take its time to read it; the loop below does.
    step = tf.autograph.experimental.do_not_convert(engine.step)

    # One call of it is one epoch: the loop is within, and Python hears of it at its end.
    @tf.function
    def epoch_of(iterator, first):
        losses = tf.TensorArray(tf.float32, train.steps_per_epoch)
        for number in tf.range(train.steps_per_epoch):
            context = engine.StepContext(seed, first + tf.cast(number, tf.int64))
            done = step(model, objective, rule, next(iterator), variables, context)
            # Sums: what the losses of examples of another weight, or of a short last batch, add up to.
            losses = losses.write(number, done.loss / done.weight)
        return losses.stack()

    iterator, losses, best, waited = iter(train.training(seed)), [], float("inf"), 0
    for epoch in range(most_epochs):
        losses += epoch_of(iterator, tf.constant(len(losses), tf.int64)).numpy().tolist()
        mean = sum(losses[-train.steps_per_epoch :]) / train.steps_per_epoch
        best, waited = (mean, 0) if mean < best else (best, waited + 1)
        print(f"epoch {epoch + 1}: loss {mean:.4f}")
        if waited == patience:
            break
    return losses, epoch + 1


def make(examples=6000, batch_size=50):
    """A network with dropout, its objective, its rule, and what it is trained on."""
    tf.random.set_seed(0)
    model = layers.nets.mlp((28, 28, 1), 10, units=(64,), dropout=0.2)
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    train = data.Pipeline(source, batch_size, transform=data.to_float)
    return model, engine.Supervised("sparse_categorical_crossentropy"), optim.SGD(0.2, momentum=0.9), train


if __name__ == "__main__":
    fit(*make())
