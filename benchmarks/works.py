"""The works: which network, of which sizes, on which numbers, with which optimizer; NumPy only, for every peer."""

import dataclasses

import numpy as np

# Small, as TensorFlow's Adam adds it before the correction of the variance, and PyTorch and Optax after it.
EPSILON = 1e-9
MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class Work:
    """One row of the table.

    network: its name in `benchmarks.networks` and in every peer; sizes: its arguments.
    inputs: the shape of one example; classes: of the labels, one for each example, or in the transformer each token.
    batch, batches: examples of a step, steps of an epoch.
    task: "train", "evaluate", "predict", or "transfer": the backbone is frozen, the head alone learns.
    fit_epochs: epochs of one fit: what is done in the first may serve the others. Turns are of whole fits.
    peers: whose rows there are, or None: everybody's.
    tolerance: how far a loss of the first steps may be from ours, relative to it.
    targets: what a ratio should be at least, by peer; of "floor": how much slower than it at most.
    """

    title: str
    network: str
    inputs: tuple
    batch: int
    batches: int
    classes: int = 10
    sizes: dict = dataclasses.field(default_factory=dict)
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    precision: str = "float32"
    task: str = "train"
    fit_epochs: int = 1
    peers: tuple | None = None
    tolerance: float = 5e-3
    targets: dict = dataclasses.field(default_factory=dict)

    @property
    def examples(self):
        """How many there are in an epoch."""
        return self.batch * self.batches


MLP = Work(
    "MLP 784-128-64-10, batch 32",
    "mlp",
    (28, 28),
    batch=32,
    batches=512,
    targets={"keras": 8, "keras_tuned": 4, "torch": 2.5, "jax": 1.3, "floor": 3},
)
CONVNET = Work(
    "convnet 32-64-128, batch 64",
    "convnet",
    (32, 32, 3),
    batch=64,
    batches=16,
    targets={"keras": 2, "keras_tuned": 1.6, "torch": 1.8, "jax": 5, "floor": 1.6},
)
TEXT = Work(
    "GRU 64, 48 tokens, masks, batch 32",
    "gru",
    (48,),
    batch=32,
    batches=32,
    classes=2,
    sizes={"vocabulary": 10_000, "features": 64, "units": 64, "masked": True},
    targets={"keras": 2, "keras_tuned": 1.5, "torch": 2},
)
INFERENCE = {"keras": 2, "keras_tuned": 1.5, "torch": 1.2}

WORKS = {
    "mlp_32": MLP,
    "mlp_256": dataclasses.replace(
        MLP,
        title="MLP 784-128-64-10, batch 256",
        batch=256,
        batches=64,
        targets={"keras": 4, "keras_tuned": 2.5, "torch": 1.5, "jax": 1.2, "floor": 2},
    ),
    "convnet": CONVNET,
    "convnet_bfloat16": dataclasses.replace(
        CONVNET,
        title="convnet 32-64-128, batch 64, bfloat16",
        batches=4,
        precision="bfloat16",
        tolerance=3e-2,
        targets={"keras": 2, "keras_tuned": 1.3, "torch": 1.5},
    ),
    "lstm_500": Work(
        "Embedding + LSTM 128, 500 steps, batch 32",
        "lstm",
        (500,),
        batch=32,
        batches=2,
        classes=2,
        sizes={"vocabulary": 10_000, "features": 64, "units": 128, "masked": False},
        # With 1e-3 the loss leaps after 14 steps, from 0.3 to 1.7 or not, as epsilon's place decides.
        learning_rate=1e-4,
        targets={"keras": 2.5, "keras_tuned": 2, "torch": 5, "jax": 1.8, "floor": 3},
    ),
    "gru_48": TEXT,
    "bilstm_48": dataclasses.replace(TEXT, title="BiLSTM 64, 48 tokens, masks, batch 32", network="bilstm"),
    "resnet_20": Work(
        "ResNet-20 on 32×32, batch 128, SGD",
        "resnet",
        (32, 32, 3),
        batch=128,
        batches=2,
        optimizer="sgd",
        learning_rate=0.01,
        tolerance=1e-2,
        targets={"keras": 1.3, "keras_tuned": 1.2, "torch": 1.2, "floor": 2},
    ),
    "resnet_50_head": Work(
        "ResNet50 frozen, 224×224, 5 epochs of its head, batch 8",
        "resnet50",
        (224, 224, 3),
        batch=8,
        batches=2,
        task="transfer",
        fit_epochs=5,
        peers=("ours", "keras", "keras_tuned", "torch"),
        targets={"keras": 4, "keras_tuned": 4, "torch": 4},
    ),
    "transformer": Work(
        "transformer, 4 layers, 128 wide, 128 tokens, batch 16",
        "transformer",
        (128,),
        batch=16,
        batches=4,
        classes=256,
        sizes={"blocks": 4, "features": 128, "heads": 4},
        # Keras' Adam squares the gradients of a token that comes twice one by one, Σg² for (Σg)².
        tolerance=3e-2,
        targets={"keras": 1.5, "keras_tuned": 1.2, "torch": 1.1, "jax": 1.1, "floor": 2},
    ),
    "evaluate": dataclasses.replace(
        CONVNET, title="evaluate, convnet, batch 64", task="evaluate", batches=64, targets=INFERENCE
    ),
    "predict": dataclasses.replace(
        CONVNET, title="predict, convnet, batch 64", task="predict", batches=64, targets=INFERENCE
    ),
}


def arrays(work):
    """(inputs, labels) of an epoch: float32 pictures or int32 ids, and int32 labels that can be learnt from them."""
    rng = np.random.default_rng(0)
    if work.network == "transformer":
        # Each token is a step of 0 to 7 from three times the one before it.
        tokens = rng.integers(0, work.classes, [work.examples, 1])
        for _ in range(work.inputs[0]):
            tokens = np.concatenate([tokens, (3 * tokens[:, -1:] + rng.integers(0, 8, [work.examples, 1])) % 256], 1)
        return tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32)
    if "vocabulary" in work.sizes:
        half = work.sizes["vocabulary"] // 2
        ids = rng.integers(1, 2 * half, [work.examples, *work.inputs])
        labels = rng.integers(0, 2, work.examples)
        # Of one label, every fourth word is of the upper half of the vocabulary.
        ids[labels == 1, ::4] = rng.integers(half, 2 * half, ids[labels == 1, ::4].shape)
        if work.sizes["masked"]:
            lengths = rng.integers(work.inputs[0] // 2, work.inputs[0] + 1, work.examples)
            ids[np.arange(work.inputs[0]) >= lengths[:, None]] = 0
        return ids.astype(np.int32), labels.astype(np.int32)
    pictures = rng.uniform(-1, 1, [work.examples, *work.inputs]).astype(np.float32)
    planes = rng.normal(size=[int(np.prod(work.inputs)), work.classes]).astype(np.float32)
    return pictures, np.argmax(pictures.reshape(work.examples, -1) @ planes, 1).astype(np.int32)
