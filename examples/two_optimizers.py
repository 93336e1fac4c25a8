"""Two optimizers in one run: Muon for the hidden matrix, AdamW for the rest, each under its own rate.

    python examples/two_optimizers.py

`optim.Partition` gives each variable to the first pattern that its path matches, and is a rule again: the Trainer, the
checkpoints and `optim.chain` need not know. (Two optimizers with two objectives, which take turns: `examples/gan.py`.)
"""

import tensorflow as tf

import data
import engine
import layers
import optim


def make_rule(steps):
    """The hidden matrix goes by Muon (Jordan et al. 2024), head and biases by AdamW; gradients are clipped before."""
    parts = {
        "layers.1.kernel": optim.Muon(optim.schedules.cosine(0.02, steps)),
        "*": optim.AdamW(optim.schedules.warmup_cosine(1e-3, warmup_steps=steps // 10, total_steps=steps)),
    }
    return optim.chain(optim.clip_by_global_norm(1.0), optim.Partition(parts))


def main(examples=6000, epochs=3, units=(128,)):
    """Trains with both; the trainer and the accuracy on test pictures."""
    tf.random.set_seed(0)
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    train = data.Pipeline(source, 50, transform=data.to_float)
    model = layers.nets.mlp((28, 28, 1), 10, units=units)
    trainer = engine.Trainer(
        model,
        "sparse_categorical_crossentropy",
        make_rule(epochs * train.steps_per_epoch),
        {"accuracy": engine.metrics.SparseCategoricalAccuracy()},
    )
    trainer.fit(train, epochs=epochs)
    for slot, variables in trainer.optimizer.slots.items():
        print(f"slot {slot}: {', '.join(variables)}")
    test = data.Pipeline(data.load("fashion_mnist_mini", split="test"), 500, transform=data.to_float)
    return trainer, trainer.evaluate(test)["accuracy"]


if __name__ == "__main__":
    print(f"accuracy {main()[1]:.3f}")
