"""As `oracles`: rules that divide by what they know of the gradients' squares, other than Adam's kin."""

import numpy as np
from oracles import decayed


def rmsprop(path, x, gradients, hyper, centered=False):
    """Tieleman and Hinton 2012; Graves 2013, eqs. 38 to 41, with ε below the root."""
    n, m, u = 0.0, 0.0, 0.0
    for g, h in zip(gradients, hyper, strict=True):
        n = h["rho"] * n + (1 - h["rho"]) * g**2
        m = h["rho"] * m + (1 - h["rho"]) * g
        spread = n - m**2 if centered else n
        u = h.get("momentum", 0.0) * u - h["learning_rate"] * g / np.sqrt(spread + h["epsilon"])
        x = decayed(path, x, h) + u
        yield x


def adagrad(path, x, gradients, hyper, initial_accumulator_value=0.1):
    """Duchi, Hazan and Singer 2011, figure 1, with ε below the root."""
    total = initial_accumulator_value
    for g, h in zip(gradients, hyper, strict=True):
        total = total + g**2
        x = x - h["learning_rate"] * g / np.sqrt(total + h["epsilon"])
        yield x


def adadelta(path, x, gradients, hyper):
    """Zeiler 2012, algorithm 1, with a rate."""
    of_g, of_dx = 0.0, 0.0
    for g, h in zip(gradients, hyper, strict=True):
        of_g = h["rho"] * of_g + (1 - h["rho"]) * g**2
        dx = -np.sqrt(of_dx + h["epsilon"]) / np.sqrt(of_g + h["epsilon"]) * g
        of_dx = h["rho"] * of_dx + (1 - h["rho"]) * dx**2
        x = x + h["learning_rate"] * dx
        yield x


def adafactor(path, x, gradients, hyper, relative_step=True):
    """Shazeer and Stern 2018, algorithm 4 for matrices with the sums of rows and columns, algorithm 5 for vectors."""
    rows = columns = v = 0.0
    for t, (g, h) in enumerate(zip(gradients, hyper, strict=True), start=1):
        rho = min(h["learning_rate"], 1 / np.sqrt(t)) if relative_step else h["learning_rate"]
        x = decayed(path, x, h)
        alpha = max(h["epsilon_2"], np.sqrt(np.mean(x**2))) * rho
        beta = 1 - float(t) ** h["beta_2_decay"]
        square = g**2 + h["epsilon_1"]
        if x.ndim == 2:
            rows = beta * rows + (1 - beta) * square.sum(1)
            columns = beta * columns + (1 - beta) * square.sum(0)
            estimate = np.outer(rows, columns) / rows.sum()
        else:
            estimate = v = beta * v + (1 - beta) * square
        u = g / np.sqrt(estimate)
        u = u / max(1.0, np.sqrt(np.mean(u**2)) / h["clip_threshold"])
        x = x - alpha * u
        yield x


def ftrl(path, x, gradients, hyper, initial_accumulator_value=0.1):
    """McMahan et al. 2013, algorithm 1: per coordinate, with any power and TensorFlow's terms of shrinkage."""
    z, n = np.zeros_like(x), np.full_like(x, initial_accumulator_value)
    for g, h in zip(gradients, hyper, strict=True):
        alpha, power = h["learning_rate"], -h["learning_rate_power"]
        shrunk = g + 2 * h["l2_shrinkage_regularization_strength"] * x
        sigma = ((n + g**2) ** power - n**power) / alpha
        z = z + shrunk - sigma * x
        n = n + g**2
        lambda_1, lambda_2 = h["l1_regularization_strength"], 2 * h["l2_regularization_strength"]
        active = np.abs(z) > lambda_1
        x = np.where(active, -(z - np.sign(z) * lambda_1) / ((h["beta"] + n**power) / alpha + lambda_2), 0.0)
        yield x
