"""As `oracles`: Adam and the rules that are made from its moments or its signs, and Muon."""

import numpy as np
from oracles import decayed


def moments(gradients, hyper):
    """Kingma and Ba 2015: m, v and the products of β, with each step's gradient and hyper-parameters."""
    m, v, power_1, power_2 = 0.0, 0.0, 1.0, 1.0
    for g, h in zip(gradients, hyper, strict=True):
        m = h["beta_1"] * m + (1 - h["beta_1"]) * g
        v = h["beta_2"] * v + (1 - h["beta_2"]) * g**2
        power_1, power_2 = power_1 * h["beta_1"], power_2 * h["beta_2"]
        yield g, h, m, v, power_1, power_2


def adam(path, x, gradients, hyper, amsgrad=False):
    """Kingma and Ba 2015, algorithm 1, with the efficient order and ε̂ of section 2; and Reddi et al. 2018's v̂."""
    highest = 0.0
    for _, h, m, v, power_1, power_2 in moments(gradients, hyper):
        highest = np.maximum(highest, v)
        alpha = h["learning_rate"] * np.sqrt(1 - power_2) / (1 - power_1)
        x = decayed(path, x, h) - alpha * m / (np.sqrt(highest if amsgrad else v) + h["epsilon"])
        yield x


def adamax(path, x, gradients, hyper):
    """Kingma and Ba 2015, algorithm 2."""
    u = 0.0
    for g, h, m, _, power_1, _ in moments(gradients, hyper):
        u = np.maximum(h["beta_2"] * u, np.abs(g))
        x = decayed(path, x, h) - h["learning_rate"] / (1 - power_1) * m / (u + h["epsilon"])
        yield x


def nadam(path, x, gradients, hyper):
    """Dozat 2016, algorithm 2, but that m decays by β₁ and not μ, as the docstring says."""
    product = 1.0
    for t, (g, h, m, v, _, power_2) in enumerate(moments(gradients, hyper), start=1):
        mu, after = (h["beta_1"] * (1 - 0.5 * 0.96**s) for s in (t, t + 1))
        product *= mu
        look = after * m / (1 - product * after) + (1 - mu) * g / (1 - product)
        x = decayed(path, x, h) - h["learning_rate"] * look / (np.sqrt(v / (1 - power_2)) + h["epsilon"])
        yield x


def radam(path, x, gradients, hyper, sma_threshold=5.0):
    """Liu et al. 2020, algorithm 2, with ε̂ beside √v."""
    for t, (_, h, m, v, power_1, power_2) in enumerate(moments(gradients, hyper), start=1):
        longest = 2 / (1 - h["beta_2"]) - 1
        length = longest - 2 * t * power_2 / (1 - power_2)
        step = m / (1 - power_1)
        if length > sma_threshold:
            rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            step = step * np.sqrt(rectified) * np.sqrt(1 - power_2) / (np.sqrt(v) + h["epsilon"])
        x = decayed(path, x, h) - h["learning_rate"] * step
        yield x


def lamb(path, x, gradients, hyper):
    """You et al. 2020, algorithm 2; a bias does not decay."""
    for _, h, m, v, power_1, power_2 in moments(gradients, hyper):
        r = (m / (1 - power_1)) / (np.sqrt(v / (1 - power_2)) + h["epsilon"])
        r = r + h.get("weight_decay", 0.0) * (not path.endswith("bias")) * x
        x = x - h["learning_rate"] * np.linalg.norm(x) / np.linalg.norm(r) * r
        yield x


def lion(path, x, gradients, hyper):
    """Chen et al. 2023, algorithm 2; the decay is of x before the step."""
    m = np.zeros_like(x)
    for g, h in zip(gradients, hyper, strict=True):
        c = h["beta_1"] * m + (1 - h["beta_1"]) * g
        x = x - h["learning_rate"] * (np.sign(c) + (x - decayed(path, x, h)) / h["learning_rate"])
        m = h["beta_2"] * m + (1 - h["beta_2"]) * g
        yield x


def muon(path, x, gradients, hyper, nesterov=True, ns_steps=5, rms_rate=0.2):
    """Jordan et al. 2024 with the scale of Liu et al. 2025, through singular values; vectors by Adam."""
    if x.ndim != 2:
        of_adam = [
            {
                "learning_rate": h["learning_rate"] * h["adam_lr_ratio"],
                "beta_1": h["adam_beta_1"],
                "beta_2": h["adam_beta_2"],
                "epsilon": h["epsilon"],
            }
            for h in hyper
        ]
        yield from adam(path, x, gradients, of_adam)
        return
    u = np.zeros_like(x)
    for g, h in zip(gradients, hyper, strict=True):
        u = h["momentum"] * u + g
        left, values, right = np.linalg.svd(g + h["momentum"] * u if nesterov else u, full_matrices=False)
        values = values / (np.linalg.norm(values) + 1e-7)
        for _ in range(ns_steps):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        scale = 1.0 if rms_rate is None else rms_rate * np.sqrt(max(x.shape))
        x = decayed(path, x, h) - h["learning_rate"] * scale * (left * values) @ right
        yield x
