"""A hook of one's own: how far each variable has moved from where training began.

    python examples/own_hook.py

A hook runs between compiled loops. What it keeps in `tf.Variable`s, made in `bind`, is part of the run's state: it is
in the checkpoints, and a run that is resumed still knows where the undisturbed one began.
"""

import tensorflow as tf

import data
import engine
import layers
import optim


class Drift(engine.hooks.Hook):
    """‖x − x₀‖ / ‖x₀‖ of every variable whose x₀ is not 0, at each epoch's end: `values` by path."""

    def __init__(self, name="drift"):
        super().__init__(name)
        self.origins = {}
        self.values = {}

    def bind(self, run):
        """Keeps the values that training begins with; a checkpoint that is resumed then sets its own."""
        variables = engine.variable_paths(run.trainer.model)
        self.origins = {path: tf.Variable(variable, trainable=False) for path, variable in variables.items()}

    def on_epoch_end(self, run, record):
        """Measures."""
        variables = engine.variable_paths(run.trainer.model)
        for path, origin in self.origins.items():
            size = tf.norm(origin)
            if size > 0:
                self.values[path] = float(tf.norm(variables[path] - origin) / size)
        print(f"epoch {run.epoch}:", ", ".join(f"{path} {value:.3f}" for path, value in self.values.items()))


def main(folder=None, examples=6000, epochs=3, units=(64,)):
    """Trains with it, and goes on from the checkpoints in `folder` if there are any; the last values."""
    tf.random.set_seed(0)
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    model = layers.nets.mlp((28, 28, 1), 10, units=units)
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.Adam(1e-3))
    drift = Drift()
    saving = [engine.hooks.Checkpoint(folder)] if folder else []
    trainer.fit(data.Pipeline(source, 50, transform=data.to_float), epochs=epochs, hooks=[drift, *saving])
    return drift.values


if __name__ == "__main__":
    main()
