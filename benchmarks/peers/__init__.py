"""The contenders: one module each, with a class `Contender(work, weights, arrays, **options)` that has

- `first(steps)`: the losses of the first steps, in the data's own order; of "evaluate" [the loss]; of "predict" the
  first 20 logits;
- `epochs(count)`: trains (or evaluates, or predicts) as many whole epochs, a multiple of the work's `fit_epochs`, in a
  shuffled order where it trains;
- `note`: what it chose by itself, or "".

Networks are made here as a user of that library writes them. Weights come by the names and in the shapes that
Tapeline's variables have; a contender may alter them, as its process is its own.
"""

from typing import NamedTuple


class Peer(NamedTuple):
    """title; module; requires: packages; options: of its Contender."""

    title: str
    module: str
    requires: tuple = ()
    options: dict = {}


PEERS = {
    "ours": Peer("Tapeline", "benchmarks.peers.ours", ("tensorflow",)),
    "keras": Peer("Keras fit", "benchmarks.peers.keras", ("keras",)),
    "keras_tuned": Peer("Keras tuned", "benchmarks.peers.keras", ("keras",), {"tuned": True}),
    "torch": Peer("PyTorch", "benchmarks.peers.torch", ("torch",)),
    "torch_compile": Peer("torch.compile", "benchmarks.peers.torch", ("torch",), {"compiled": True}),
    "jax": Peer("JAX + Optax", "benchmarks.peers.jax", ("jax", "optax")),
    "plain": Peer("tf.function per step", "benchmarks.peers.plain", ("tensorflow",)),
    "floor": Peer("floor", "benchmarks.floor", ("tensorflow",)),
}
