"""A generative adversarial network (Goodfellow et al. 2014) of the embedded pictures: two objectives, two optimizers.

    python examples/gan.py --folder=runs/gan

Each update is two calls of `engine.step`: one moves the discriminator by its objective, one the generator by its own.
`<folder>/samples.png`, new after each epoch, are pictures of the generator, `<folder>/real.png` some of the real ones.
"""

import argparse
from functools import partial
from pathlib import Path

import tensorflow as tf
from vae import write_grid

import data
import engine
import layers
import optim


class GAN(tf.Module):
    """A generator, `[batch, latent]` → pictures `[batch, 28, 28, 1]`, and a discriminator, pictures → `[batch, 1]`.

    The networks are those of Radford et al. 2015 (DCGAN, section 3), for small pictures.
    """

    def __init__(self, latent=64, filters=32):
        super().__init__()
        self.latent = latent
        enlarging = {"kernel_size": 4, "strides": 2, "padding": "same", "use_bias": False}
        shrinking = {"kernel_size": 4, "strides": 2, "padding": "same", "activation": "leaky_relu"}
        self.generator = layers.chain(
            (latent,),
            partial(layers.Dense, units=7 * 7 * 2 * filters, use_bias=False),
            layers.BatchNorm,
            tf.nn.relu,
            layers.Reshape((7, 7, 2 * filters)),
            partial(layers.Conv2DTranspose, filters=filters, **enlarging),
            layers.BatchNorm,
            tf.nn.relu,
            partial(layers.Conv2DTranspose, filters=1, **{**enlarging, "use_bias": True}, activation="sigmoid"),
        )
        self.discriminator = layers.chain(
            (28, 28, 1),
            partial(layers.Conv2D, filters=filters, **shrinking),
            layers.Dropout(0.3),
            partial(layers.Conv2D, filters=2 * filters, **shrinking),
            layers.Dropout(0.3),
            layers.Flatten,
            partial(layers.Dense, units=1),
        )

    def generate(self, rows, context):
        """As many pictures from normal noise, which comes from the step context."""
        noise = tf.math.ndtri(context.uniform([rows, self.latent]) + 2.0**-24)
        return self.generator(noise, training=context)


def discriminate(model, batch, context):
    """−log D(x) − log(1 − D(G(z))) for each picture x, with a z of its own."""
    real = batch["inputs"]
    of_real = model.discriminator(real, training=context)[:, 0]
    of_fake = model.discriminator(model.generate(tf.shape(real)[0], context), training=context)[:, 0]
    losses = tf.nn.softplus(-of_real) + tf.nn.softplus(of_fake)
    return engine.Terms(losses, tf.ones_like(losses), of_real, real)


def generate(model, batch, context):
    """−log D(G(z)), the loss that does not saturate (the paper's section 3); of the batch only its size counts."""
    fake = model.generate(tf.shape(batch["inputs"])[0], context)
    losses = tf.nn.softplus(-model.discriminator(fake, training=context)[:, 0])
    return engine.Terms(losses, tf.ones_like(losses), fake, fake)


def alternating(model, rules, seed=0):
    """A compiled function `(batch, number) -> (discriminator's mean loss, generator's)`: one update of each."""
    parts = {discriminate: model.discriminator, generate: model.generator}
    for part, rule in zip(parts.values(), rules, strict=True):
        rule.init(engine.variable_paths(part))

    @tf.function(autograph=False)
    def update(batch, number):
        losses = []
        for turn, (objective, part) in enumerate(parts.items()):
            # Each turn has a step number, hence draws, of its own, and moves its part alone.
            context = engine.StepContext(seed, 2 * number + turn)
            variables = engine.trainable_variables(part)
            done = engine.step(model, objective, rules[turn], batch, variables, context)
            losses.append(done.loss / done.weight)
        return losses

    return update


def main(folder, epochs=30, examples=6000, batch_size=64, latent=64, filters=32):
    """Trains on the first `examples` pictures and writes both grids; the losses of each step and the model."""
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    pipeline = data.Pipeline(source, min(batch_size, examples), transform=data.to_float, drop_remainder=True)
    model = GAN(latent, filters)
    update = alternating(model, [optim.Adam(2e-4, beta_1=0.5), optim.Adam(4e-4, beta_1=0.5)])
    losses, batches, noise = [], iter(pipeline.training(seed=0)), tf.random.stateless_normal([50, latent], [0, 0])
    for step in range(epochs * pipeline.steps_per_epoch):
        batch = next(batches)
        losses.append([float(loss) for loss in update(batch, tf.constant(step, tf.int64))])
        if (step + 1) % pipeline.steps_per_epoch == 0:
            print(f"epoch {(step + 1) // pipeline.steps_per_epoch}: discriminator, generator: {losses[-1]}")
            write_grid(Path(folder) / "samples.png", model.generator(noise))
    write_grid(Path(folder) / "real.png", batch["inputs"][: batch["inputs"].shape[0] // 10 * 10])
    return losses, model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="runs/gan")
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    main(given.folder, given.epochs)
