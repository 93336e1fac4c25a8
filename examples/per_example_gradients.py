"""A gradient for each example, and what needs them: differentially private training (Abadi et al. 2016).

    python examples/per_example_gradients.py

An objective says a loss for each example, so that theirs are the rows of one Jacobian, computed for all at once.
"""

import tensorflow as tf

import data
import engine
import layers
import optim


def per_example_gradients(model, objective, batch, variables, context):
    """∇(wᵢℓᵢ) for each example i: a tensor `[batch, *variable.shape]` for each variable."""
    with tf.GradientTape() as tape:
        terms = objective(model, batch, context)
        losses = terms.losses * terms.weights
    return tape.jacobian(losses, variables)


def clipped(gradients, largest):
    """Each example's gradient, over all variables together, at most `largest` long; and how long they were."""
    squares = [tf.reduce_sum(g**2, axis=list(range(1, g.shape.rank))) for g in gradients]
    lengths = tf.sqrt(tf.add_n(squares))
    factors = tf.minimum(1.0, tf.math.divide_no_nan(largest, lengths))
    return [g * tf.reshape(factors, [-1] + [1] * (g.shape.rank - 1)) for g in gradients], lengths


def private_gradients(gradients, largest, noise, context):
    """The mean of clipped gradients, with normal noise of `noise·largest` on their sum (algorithm 1 of the paper)."""
    kept, _ = clipped(gradients, largest)
    rows = tf.cast(tf.shape(kept[0])[0], kept[0].dtype)
    drawn = [tf.math.ndtri(context.uniform([1, *g.shape[1:]])[0] + 2.0**-24) for g in kept]
    return [(tf.reduce_sum(g, 0) + noise * largest * n) / rows for g, n in zip(kept, drawn, strict=True)]


def main(examples=6000, epochs=5, batch_size=100, units=(32,), largest=1.0, noise=0.5):
    """Trains with them; the losses of each step, and the accuracy on test pictures."""
    tf.random.set_seed(0)
    model = layers.nets.mlp((28, 28, 1), 10, units=units)
    variables = engine.trainable_variables(model)
    objective, rule = engine.Supervised("sparse_categorical_crossentropy"), optim.SGD(0.5)
    rule.init(variables)

    @tf.function(autograph=False)
    def update(batch, number):
        context = engine.StepContext(0, number)
        gradients = per_example_gradients(model, objective, batch, variables, context)
        rule.apply(private_gradients(gradients, largest, noise, context), variables)
        return tf.reduce_mean(objective(model, batch, False).losses)

    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    train = data.Pipeline(source, batch_size, transform=data.to_float, drop_remainder=True)
    batches = train.training(seed=0).take(epochs * train.steps_per_epoch)
    losses = [float(update(batch, tf.constant(step, tf.int64))) for step, batch in enumerate(batches)]
    test = data.Pipeline(data.load("fashion_mnist_mini", split="test"), 500, transform=data.to_float)
    metrics = {"accuracy": engine.metrics.SparseCategoricalAccuracy()}
    return losses, engine.Trainer(model, objective, optim.SGD(), metrics).evaluate(test)["accuracy"]


if __name__ == "__main__":
    print(f"accuracy {main()[1]:.3f}")
