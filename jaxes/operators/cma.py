"""Default parameters of the CMA-ES family (N. Hansen, The CMA Evolution Strategy: A Tutorial, 2016, arXiv 1604.00772).

Computed on the host in float64 from the static d and lam; equation numbers are the tutorial's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Parameters(NamedTuple):
    """Learning rates and weights."""

    weights: np.ndarray  # (lam,), best candidate first; the better half sums to 1, the others are negative
    mu_eff: float
    c_c: float
    c_1: float
    c_mu: float
    c_sigma: float
    d_sigma: float
    chi: float  # E|N(0, I)|


def parameters(d: int, lam: int) -> Parameters:
    raw = math.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1))  # 49
    positive, negative = raw[: lam // 2], raw[lam // 2 :]
    mu_eff = float(positive.sum() ** 2 / (positive**2).sum())
    mu_eff_negative = float(negative.sum() ** 2 / (negative**2).sum())
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
        d_sigma=1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma,
        chi=math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d)),
    )
