"""Default parameters of the CMA-ES family (N. Hansen, The CMA Evolution Strategy: A Tutorial, 2016, arXiv 1604.00772).

Computed on the host in float64 from the static d and lam; equation numbers are the tutorial's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Parameters(NamedTuple):
    """Learning rates and weights."""

    weights: np.ndarray  # (lam,), best candidate first; the better half sums to 1, the others are negative or 0
    mu_eff: float
    c_c: float
    c_1: float
    c_mu: float
    c_sigma: float
    d_sigma: float
    chi: float  # E|N(0, I)|


def parameters(d: int, lam: int) -> Parameters:
    """Those of the tutorial."""
    raw = math.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1))  # 49
    positive, negative = raw[: lam // 2], raw[lam // 2 :]
    mu_eff = effective(positive)
    mu_eff_negative = effective(negative)
    c_1 = 2 / ((d + 1.3) ** 2 + mu_eff)  # 57
    c_mu = min(1 - c_1, 2 * (mu_eff - 2 + 1 / mu_eff) / ((d + 2) ** 2 + mu_eff))  # 58
    alpha = 1 + 2 * mu_eff_negative / (mu_eff + 2)  # 51
    if c_mu > 0:
        alpha = min(1 + c_1 / c_mu, alpha, (1 - c_1 - c_mu) / (d * c_mu))  # 50, 52
    weights = np.where(raw >= 0, raw / positive.sum(), alpha * raw / max(np.abs(negative).sum(), 1e-300))  # 53
    c_sigma = (mu_eff + 2) / (d + mu_eff + 5)  # 55
    return Parameters(
        weights=weights,
        mu_eff=mu_eff,
        c_c=(4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d),  # 56
        c_1=c_1,
        c_mu=c_mu,
        c_sigma=c_sigma,
        d_sigma=damping(d, mu_eff) + c_sigma,
        chi=length(d),
    )


def separable(d: int, lam: int) -> Parameters:
    """Those of sep-CMA-ES (Ros & Hansen 2008, Table 1, with the learning rate of section 3), bounded by 1 for a large lam."""
    weights = better_half(lam, 1)
    mu_eff = effective(weights)
    c_sigma = (mu_eff + 2) / (d + mu_eff + 3)
    full = 2 / mu_eff / (d + 2**0.5) ** 2 + (1 - 1 / mu_eff) * min(1, (2 * mu_eff - 1) / ((d + 2) ** 2 + mu_eff))
    c_cov = min(1, full * (d + 2) / 3)
    return Parameters(
        weights=weights,
        mu_eff=mu_eff,
        c_c=4 / (d + 4),
        c_1=c_cov / mu_eff,
        c_mu=c_cov * (1 - 1 / mu_eff),
        c_sigma=c_sigma,
        d_sigma=damping(d, mu_eff) + c_sigma,
        chi=length(d),
    )


def better_half(lam: int, above: float) -> np.ndarray:
    """(lam,) weights ln(mu + above) - ln(rank) of the better half, mu = floor(lam / 2), that sum to 1; 0 for the others."""
    mu = lam // 2
    raw = math.log(mu + above) - np.log(np.arange(1, lam + 1))
    raw[mu:] = 0
    return raw / raw.sum()


def effective(weights: np.ndarray) -> float:
    """How many equal weights have the variance of these."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def damping(d: int, mu_eff: float) -> float:
    """What the damping of the step size is above c_sigma."""
    return 1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (d + 1)) - 1)


def length(d: int) -> float:
    """The expected length of a standard normal vector, to the second order."""
    return math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
