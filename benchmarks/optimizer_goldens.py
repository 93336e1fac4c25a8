"""What update rules of PyTorch, Optax and schedulefree make of the same gradients, for tests/optim/test_rule_peers.py.

pip install torch optax schedulefree; python benchmarks/optimizer_goldens.py tests/optim/goldens.json

Every library starts at the same kernel [4, 2] and bias [2] in float64, takes the same 12 gradients, and is asked for
both after 1, 2, 6 and 12 updates. Epsilons are 1e-30 where libraries put them in different places. Hyper-parameters,
start and gradients are exact in binary, and come from no generator of random numbers.
"""

import json
import sys

import jax
import numpy as np
import optax
import schedulefree
import torch

jax.config.update("jax_enable_x64", True)

SHAPES = {"kernel": (4, 2), "bias": (2,)}
SHOWN = (1, 2, 6, 12)
TINY = 1e-30
RATE, DECAY, MOMENTUM, BETAS = 2**-5, 2**-4, 0.875, (0.875, 1 - 2**-7)


def numbers(shape, seed):
    """Numbers from −1 to 1.1 without 0, in some disorder."""
    count = int(np.prod(shape))
    steps = (np.arange(count) * 7 + seed * 11) % 16
    return (np.where(steps < 8, steps - 8, steps - 7) / 8 + seed % 3 / 32).reshape(shape)


START = {name: numbers(shape, 1) for name, shape in SHAPES.items()}
GRADIENTS = [
    {name: numbers(shape, 3 * t + 5) * (1 + t % 4) for name, shape in SHAPES.items()} for t in range(max(SHOWN))
]


def by_torch(make):
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in START.items()}
    optimizer = make(list(tensors.values()))
    if hasattr(optimizer, "train"):
        optimizer.train()
    for gradients in GRADIENTS:
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[name])
        optimizer.step()
        yield {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def by_optax(transform):
    values, state = dict(START), transform.init(START)
    for gradients in GRADIENTS:
        updates, state = transform.update(gradients, state, values)
        values = optax.apply_updates(values, updates)
        yield {name: np.asarray(value) for name, value in values.items()}


def recorded(steps):
    seen = list(steps)
    return {name: [seen[shown - 1][name].tolist() for shown in SHOWN] for name in SHAPES}


def by_lookahead(transform):
    values = optax.LookaheadParams.init_synced(START)
    state = transform.init(values)
    for gradients in GRADIENTS:
        updates, state = transform.update(gradients, state, values)
        values = optax.apply_updates(values, updates)
        yield {name: np.asarray(value) for name, value in values.fast.items()}


torched = {"lr": RATE, "betas": BETAS, "eps": TINY}
optaxed = {"learning_rate": RATE, "b1": BETAS[0], "b2": BETAS[1], "eps": TINY}
decays = {"kernel": True, "bias": False}
nadam = {"momentum_decay": 1.0, "weight_decay": DECAY, "decoupled_weight_decay": True}
free = {"lr": RATE, "weight_decay": DECAY, "warmup_steps": 0}
o, c = torch.optim, optax.contrib
TORCH = {
    "torch SGD": lambda p: o.SGD(p, RATE, MOMENTUM),
    "torch SGD nesterov": lambda p: o.SGD(p, RATE, MOMENTUM, nesterov=True),
    "torch RMSprop": lambda p: o.RMSprop(p, RATE, alpha=MOMENTUM, eps=TINY, momentum=MOMENTUM),
    "torch RMSprop centered": lambda p: o.RMSprop(p, RATE, alpha=MOMENTUM, eps=2**-200, centered=True),
    "torch Adagrad": lambda p: o.Adagrad(p, RATE, initial_accumulator_value=0.25, eps=TINY),
    "torch Adadelta": lambda p: o.Adadelta(p, RATE, rho=MOMENTUM, eps=2**-20),
    "torch Adam": lambda p: o.Adam(p, **torched),
    "torch Adam amsgrad": lambda p: o.Adam(p, amsgrad=True, **torched),
    "torch AdamW": lambda p: o.AdamW(p, weight_decay=DECAY, **torched),
    "torch Adamax": lambda p: o.Adamax(p, **torched),
    "torch NAdam": lambda p: o.NAdam(p, **nadam, **torched),
    "torch RAdam": lambda p: o.RAdam(p, **torched),
    "torch Adafactor": lambda p: o.Adafactor(p, RATE, eps=(TINY, 2**-10)),
    "schedulefree SGD": lambda p: schedulefree.SGDScheduleFree(p, momentum=MOMENTUM, **free),
    "schedulefree AdamW": lambda p: schedulefree.AdamWScheduleFree(p, betas=(MOMENTUM, 0.0), eps=TINY, **free),
}
OPTAX = {
    "optax SGD nesterov": optax.sgd(RATE, MOMENTUM, nesterov=True),
    "optax LARS": optax.lars(RATE, trust_coefficient=0.125, trust_ratio_mask=decays, momentum=MOMENTUM),
    "optax RMSprop": optax.rmsprop(RATE, decay=MOMENTUM, eps=TINY),
    "optax Adagrad": optax.adagrad(RATE, initial_accumulator_value=0.25, eps=TINY),
    "optax Adadelta": optax.adadelta(RATE, rho=MOMENTUM, eps=2**-20),
    "optax AdamW": optax.adamw(weight_decay=DECAY, mask=decays, **optaxed),
    "optax Adamax": optax.adamax(**optaxed),
    "optax RAdam": optax.radam(**optaxed),
    "optax Lamb": optax.lamb(weight_decay=DECAY, mask=decays, **optaxed),
    "optax Lion": optax.lion(RATE, *BETAS, weight_decay=DECAY, mask=decays),
    "optax Adafactor": optax.adafactor(RATE, min_dim_size_to_factor=2),
    "optax Muon": c.muon(RATE, beta=MOMENTUM, eps=1e-7, nesterov=False, consistent_rms=0.25, adam_b1=0.75),
    "optax schedule-free SGD": c.schedule_free(optax.sgd(RATE), RATE, b1=MOMENTUM),
}


def main(path):
    goldens = {name: recorded(by_torch(make)) for name, make in TORCH.items()}
    goldens |= {name: recorded(by_optax(transform)) for name, transform in OPTAX.items()}
    goldens["optax Lookahead"] = recorded(by_lookahead(optax.lookahead(optax.sgd(RATE, MOMENTUM), 3, 0.625)))
    listed = {
        "start": {name: value.tolist() for name, value in START.items()},
        "gradients": [{name: value.tolist() for name, value in step.items()} for step in GRADIENTS],
        "shown": SHOWN,
        "versions": {m.__name__: m.__version__ for m in (torch, optax, jax)},
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in (listed | {"goldens": goldens}).items()]
    with open(path, "w") as file:
        file.write("{\n" + ",\n".join(lines).replace('}, "', '},\n    "') + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
