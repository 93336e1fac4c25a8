"""The papers' algorithms in NumPy float64, one variable at a time, in the papers' own order of operations.

Each takes the variable's path and start, its gradients and the hyper-parameters of each step, and yields the
variable after each step. Those of Adam and its kin are in `oracles_adam`, other adaptive ones in `oracles_adaptive`.
"""

import numpy as np


def decayed(path, x, h):
    """Loshchilov and Hutter 2019: x ← (1 − η w) x before the step; a bias does not decay."""
    return x * (1 - h["learning_rate"] * h.get("weight_decay", 0.0) * (not path.endswith("bias")))


def sgd(path, x, gradients, hyper, nesterov=False):
    """Sutskever et al. 2013, eqs. 1 and 2; Nesterov's step is 3 and 4 seen from the look-ahead point."""
    u = np.zeros_like(x)
    for g, h in zip(gradients, hyper, strict=True):
        mu = h.get("momentum", 0.0)
        u = mu * u - h["learning_rate"] * g
        x = decayed(path, x, h)
        x = x + mu * u - h["learning_rate"] * g if nesterov else x + u
        yield x


def lars(path, x, gradients, hyper):
    """You, Gitman and Ginsburg 2017, algorithm 1; a bias neither decays nor adapts."""
    v = np.zeros_like(x)
    for g, h in zip(gradients, hyper, strict=True):
        weight = 0.0 if path.endswith("bias") else h.get("weight_decay", 0.0)
        local = h["trust_coefficient"] * np.linalg.norm(x) / (np.linalg.norm(g) + weight * np.linalg.norm(x))
        if path.endswith("bias"):
            local = 1.0
        v = h["momentum"] * v + h["learning_rate"] * local * (g + weight * x)
        x = x - v
        yield x


def schedule_free_sgd(path, x, gradients, hyper):
    """Defazio et al. 2024, eqs. 3 to 5, weighted as in algorithm 1; yields y, where the next gradient is taken."""
    z, y, total = x, x, 0.0
    for g, h in zip(gradients, hyper, strict=True):
        gamma, beta = h["learning_rate"], h["beta_1"]
        weight = 0.0 if path.endswith("bias") else h.get("weight_decay", 0.0)
        z = z - gamma * g - gamma * weight * y
        total += gamma**2
        c = gamma**2 / total
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
        yield y


def schedule_free_adamw(path, x, gradients, hyper):
    """Defazio et al. 2024, algorithm 1; yields y."""
    z, y, v, power, total = x, x, np.zeros_like(x), 1.0, 0.0
    for g, h in zip(gradients, hyper, strict=True):
        beta_1, beta_2 = h["beta_1"], h["beta_2"]
        weight = 0.0 if path.endswith("bias") else h.get("weight_decay", 0.0)
        v = beta_2 * v + (1 - beta_2) * g**2
        power *= beta_2
        gamma = h["learning_rate"] * np.sqrt(1 - power)
        z = z - gamma * g / (np.sqrt(v) + h["epsilon"]) - gamma * weight * y
        total += gamma**2
        c = gamma**2 / total
        x = (1 - c) * x + c * z
        y = (1 - beta_1) * z + beta_1 * x
        yield y


def lookahead_of_sgd(path, x, gradients, hyper, sync_period):
    """Zhang et al. 2019, algorithm 1, around gradient descent with momentum that is never reset."""
    slow, u = x, np.zeros_like(x)
    for t, (g, h) in enumerate(zip(gradients, hyper, strict=True), start=1):
        u = h["momentum"] * u - h["learning_rate"] * g
        x = x + u
        if t % sync_period == 0:
            slow = slow + h["slow_step_size"] * (x - slow)
            x = slow
        yield x
