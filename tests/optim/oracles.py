"""The papers' algorithms in NumPy float64, one variable at a time, in the papers' own order of operations.

Each takes the variable's path and start, its gradients and the hyper-parameters of each step, and yields the
variable after each step.
"""

import numpy as np


def sgd(path, x, gradients, hyper, nesterov=False):
    """Sutskever et al. 2013, eqs. 1 and 2; Nesterov's step is 3 and 4 seen from the look-ahead point."""
    u = np.zeros_like(x)
    for g, h in zip(gradients, hyper, strict=True):
        mu = h.get("momentum", 0.0)
        u = mu * u - h["learning_rate"] * g
        x = x + mu * u - h["learning_rate"] * g if nesterov else x + u
        yield x


def adam(path, x, gradients, hyper):
    """Kingma and Ba 2015, algorithm 1, with the efficient order and ε̂ of section 2."""
    m, v, power_1, power_2 = np.zeros_like(x), np.zeros_like(x), 1.0, 1.0
    for g, h in zip(gradients, hyper, strict=True):
        x = x * (1 - h["learning_rate"] * h.get("weight_decay", 0.0))
        m = h["beta_1"] * m + (1 - h["beta_1"]) * g
        v = h["beta_2"] * v + (1 - h["beta_2"]) * g**2
        power_1, power_2 = power_1 * h["beta_1"], power_2 * h["beta_2"]
        alpha = h["learning_rate"] * np.sqrt(1 - power_2) / (1 - power_1)
        x = x - alpha * m / (np.sqrt(v) + h["epsilon"])
        yield x


def adamw(path, x, gradients, hyper):
    """Loshchilov and Hutter 2019, algorithm 2; a bias does not decay."""
    decays = not path.endswith("bias")
    return adam(path, x, gradients, [{**h, "weight_decay": decays * h["weight_decay"]} for h in hyper])
