"""Hessian-vector products of the training loss, and its sharpest direction by power iteration.

    python examples/hessian_vector_products.py

H·v is the gradient of ∇L·v (Pearlmutter 1994): a second backward pass, through the engine's own. It costs a few
gradients, and there is no Hessian.
"""

import tensorflow as tf

import data
import engine
import layers
import optim


def gradient(model, objective, batch, variables):
    """∇(Σwℓ/Σw + penalty), in training, with the draws of step 0 whenever it is asked for."""
    sums = engine.slice_sums(model, objective, batch, variables, engine.StepContext(0, 0))
    return engine.mean_gradients(sums)


def hessian_vector_product(model, objective, batch, variables, vector):
    """H·v, a list of tensors like `variables`; `vector` is one too. Runs eagerly, or in a `tf.function`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        found = gradient(model, objective, batch, variables)
    # The gradient of Σ g·v, v held still: Hᵀ·v, and H is symmetric.
    return tape.gradient(found, variables, vector, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def sharpness(model, objective, batch, iterations=30):
    """The eigenvalue of H that is largest in size, and a unit vector in its direction, by power iteration."""
    variables = engine.trainable_variables(model)

    @tf.function(autograph=False)
    def iterate(vector):
        product = hessian_vector_product(model, objective, batch, variables, vector)
        size = tf.linalg.global_norm(product)
        value = tf.add_n([tf.reduce_sum(v * h) for v, h in zip(vector, product, strict=True)])
        return value, [h / size for h in product]

    vector = [tf.random.stateless_normal(v.shape, [0, n], dtype=v.dtype) for n, v in enumerate(variables)]
    length = tf.linalg.global_norm(vector)
    vector = [v / length for v in vector]
    for _ in range(iterations):
        value, vector = iterate(vector)
    return float(value), vector


def main(examples=2000, epochs=5, units=(32,), rate=0.1):
    """The sharpness of the loss before training and after each epoch."""
    tf.random.set_seed(0)
    model = layers.nets.mlp((28, 28, 1), 10, units=units, activation="tanh")
    source = data.Subset(data.load("fashion_mnist_mini"), range(examples))
    train = data.Pipeline(source, min(50, examples), transform=data.to_float)
    whole = next(iter(data.Pipeline(source, examples, transform=data.to_float).evaluation()))
    trainer = engine.Trainer(model, "sparse_categorical_crossentropy", optim.SGD(rate))
    values = [sharpness(model, trainer.objective, whole)[0]]
    for epoch in range(epochs):
        trainer.fit(train, epochs=epoch + 1)
        values.append(sharpness(model, trainer.objective, whole)[0])
        print(f"epoch {epoch + 1}: largest eigenvalue {values[-1]:.2f} (2 / learning rate is {2 / rate:.0f})")
    return values


if __name__ == "__main__":
    main()
