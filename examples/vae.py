"""A variational autoencoder (Kingma and Welling 2013) of the embedded pictures, in a loop of its own.

    python examples/vae.py --folder=runs/vae

The task is an objective like any other: a loss for each picture, −ELBO, that draws its noise from the step context.
`<folder>/samples.png` are pictures decoded from noise, `<folder>/reconstructed.png` test pictures over their
reconstructions.
"""

import argparse
from pathlib import Path

import tensorflow as tf

import data
import engine
import layers
import optim


class VAE(tf.Module):
    """Pictures `[batch, 28, 28, 1]` ↔ codes `[batch, latent]`; the paper's networks, with ReLU."""

    def __init__(self, latent=20, hidden=400):
        super().__init__()
        self.latent = latent
        self.encoder = layers.Sequential(
            [layers.Flatten(), layers.Dense(784, hidden, activation="relu"), layers.Dense(hidden, 2 * latent)]
        )
        self.decoder = layers.Sequential(
            [
                layers.Dense(latent, hidden, activation="relu"),
                layers.Dense(hidden, 784),
                layers.Reshape((28, 28, 1)),
            ]
        )

    def encode(self, x):
        """Mean and log-variance of q(z|x), each `[batch, latent]`."""
        return tf.split(self.encoder(x), 2, axis=-1)

    def __call__(self, x):
        """The logits of the pixels, decoded from the mean code."""
        return self.decoder(self.encode(x)[0])


def negative_elbo(model, batch, context):
    """−ELBO of each picture: −log p(x|z) + KL(q(z|x) ‖ N(0, 1)) with one z ~ q(z|x) (the paper's eq. 10)."""
    x = batch["inputs"]
    mean, log_variance = model.encode(x)
    # From the context: the same noise for a picture, however the batch is cut, and in a run that is resumed.
    noise = tf.math.ndtri(context.uniform([tf.shape(x)[0], model.latent]) + 2.0**-24)
    logits = model.decoder(mean + tf.exp(0.5 * log_variance) * noise)
    reconstruction = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(x, logits), axis=[1, 2, 3])
    losses = reconstruction + divergence(mean, log_variance)
    return engine.Terms(losses, tf.ones_like(losses), logits, x)


def divergence(mean, log_variance):
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − log σ² − 1), `[batch]` (the paper's appendix B)."""
    return 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - log_variance - 1, axis=-1)


def train(model, pipeline, epochs, seed=0):
    """Trains; the mean −ELBO of each epoch, in nats a picture."""
    variables = engine.trainable_variables(model)
    rule = optim.Adam(1e-3)
    rule.init(engine.variable_paths(model))

    @tf.function(autograph=False)
    def update(batch, number):
        return engine.step(model, negative_elbo, rule, batch, variables, engine.StepContext(seed, number))

    losses, batches = [], iter(pipeline.training(seed))
    for epoch in range(epochs):
        total, weight = 0.0, 0.0
        for number in range(pipeline.steps_per_epoch):
            done = update(next(batches), tf.constant(epoch * pipeline.steps_per_epoch + number, tf.int64))
            total, weight = total + done.loss, weight + done.weight
        losses.append(float(total / weight))
        print(f"epoch {epoch + 1}: {losses[-1]:.2f} nats a picture")
    return losses


def write_grid(path, pictures, columns=10):
    """Pictures `[rows·columns, height, width, 1]` with values from 0 to 1, in rows, as one PNG."""
    height, width = pictures.shape[1:3]
    rows = tf.reshape(pictures, [-1, columns, height, width, 1])
    grid = tf.reshape(tf.transpose(rows, [0, 2, 1, 3, 4]), [-1, columns * width, 1])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tf.io.write_file(str(path), tf.io.encode_png(tf.image.convert_image_dtype(grid, tf.uint8, saturate=True)))


def main(folder, epochs=60, examples=6000, latent=20, hidden=400):
    """Trains on the first `examples` pictures and writes both grids; the losses and the model."""
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    model = VAE(latent, hidden)
    losses = train(model, data.Pipeline(source, min(100, examples), transform=data.to_float), epochs)
    codes = tf.random.stateless_normal([50, latent], [0, 0])
    write_grid(Path(folder) / "samples.png", tf.sigmoid(model.decoder(codes)))
    shown = data.to_float({"inputs": tf.constant(data.load("fashion_mnist_mini", split="test").arrays["inputs"][:20])})
    first, second = tf.split(shown["inputs"], 2)
    rows = [first, tf.sigmoid(model(first)), second, tf.sigmoid(model(second))]
    write_grid(Path(folder) / "reconstructed.png", tf.concat(rows, axis=0))
    return losses, model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="runs/vae")
    parser.add_argument("--epochs", type=int, default=60)
    given = parser.parse_args()
    main(given.folder, given.epochs)
