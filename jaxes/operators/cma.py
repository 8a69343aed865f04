"""Default parameters of the CMA-ES family (N. Hansen, The CMA Evolution Strategy: A Tutorial, 2016, arXiv 1604.00772).

Computed on the host in float64 where d and lam are static; equation numbers are the tutorial's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Parameters(NamedTuple):
    """Learning rates and weights; arrays where lam is a value."""

    weights: Any  # (lam,), best candidate first; the better half sums to 1, the others are negative or 0
    mu_eff: Any
    c_c: Any
    c_1: Any
    c_mu: Any
    c_sigma: Any
    d_sigma: Any
    total: Any  # sum of the weights


def parameters(d: int, lam: Any, rows: int | None = None, dtype: Any = None) -> Parameters:
    """Those of the tutorial. With `rows`, lam is a number at most as large, known or traced, and there are `rows` weights of
    `dtype`, zeros after the first lam."""
    xp: Any = np if rows is None else jnp
    lam = lam if rows is None else jnp.asarray(lam, dtype)
    rank = xp.arange(1, (lam if rows is None else rows) + 1, dtype=dtype)
    raw = xp.where(rank <= lam, xp.log((lam + 1) / 2) - xp.log(rank), 0)  # 49
    positive, negative = xp.maximum(raw, 0), xp.minimum(raw, 0)
    mu_eff, mu_eff_negative = effective(positive), effective(negative)
    c_1 = 2 / ((d + 1.3) ** 2 + mu_eff)  # 57
    c_mu = xp.minimum(1 - c_1, 2 * (mu_eff - 2 + 1 / mu_eff) / ((d + 2) ** 2 + mu_eff))  # 58
    alpha = 1 + 2 * mu_eff_negative / (mu_eff + 2)  # 51
    least = xp.maximum(c_mu, 1e-30)
    alpha = xp.minimum(xp.minimum(1 + c_1 / least, alpha), (1 - c_1 - c_mu) / (d * least))  # 50, 52
    c_sigma = (mu_eff + 2) / (d + mu_eff + 5)  # 55
    found = Parameters(
        weights=positive / positive.sum() - alpha * negative / negative.sum(),  # 53
        mu_eff=mu_eff,
        c_c=(4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d),  # 56
        c_1=c_1,
        c_mu=c_mu,
        c_sigma=c_sigma,
        d_sigma=damping(d, mu_eff, xp) + c_sigma,
        total=1 - alpha,
    )
    return found if rows is not None else Parameters(found.weights, *map(float, found[1:]))


def separable(d: int, lam: Any, rows: int | None = None, dtype: Any = None) -> Parameters:
    """Those of sep-CMA-ES (Ros & Hansen 2008, Table 1, with the learning rate of section 3), bounded by 1 for a large lam.

    lam, rows and dtype as for `parameters`.
    """
    xp: Any = np if rows is None else jnp
    weights = better_half(lam, 1, rows, dtype)
    mu_eff = effective(weights)
    c_sigma = (mu_eff + 2) / (d + mu_eff + 3)
    full = 2 / mu_eff / (d + 2**0.5) ** 2 + (1 - 1 / mu_eff) * xp.minimum(1, (2 * mu_eff - 1) / ((d + 2) ** 2 + mu_eff))
    c_cov = xp.minimum(1, full * (d + 2) / 3)
    found = Parameters(
        weights=weights,
        mu_eff=mu_eff,
        c_c=4 / (d + 4),
        c_1=c_cov / mu_eff,
        c_mu=c_cov * (1 - 1 / mu_eff),
        c_sigma=c_sigma,
        d_sigma=damping(d, mu_eff, xp) + c_sigma,
        total=1.0,
    )
    return found if rows is not None else Parameters(found.weights, *map(float, found[1:]))


def better_half(lam: Any, above: Any, rows: int | None = None, dtype: Any = None) -> Any:
    """(lam,) weights ln(mu + above) - ln(rank) of the better half, mu = floor(lam / 2), that sum to 1; 0 for the others.

    lam, rows and dtype as for `parameters`.
    """
    xp: Any = np if rows is None else jnp
    mu = lam // 2 if rows is None else jnp.asarray(lam // 2, dtype)
    rank = xp.arange(1, (lam if rows is None else rows) + 1, dtype=dtype)
    raw = xp.where(rank <= mu, xp.log(mu + above) - xp.log(rank), 0)
    return raw / raw.sum()


def effective(weights: Any) -> Any:
    """How many equal weights have the variance of these."""
    found = weights.sum() ** 2 / (weights**2).sum()
    return found if isinstance(found, jax.Array) else float(found)


def damping(d: int, mu_eff: Any, xp: Any = np) -> Any:
    """What the damping of the step size is above c_sigma."""
    return 1 + 2 * (xp.maximum(1, (mu_eff - 1) / (d + 1)) ** 0.5 - 1)


def length(d: Any) -> Any:
    """The expected length of a standard normal vector, to the second order."""
    return d**0.5 * (1 - 1 / (4 * d) + 1 / (21 * d * d))


def bounded(weights: jax.Array, z: jax.Array) -> jax.Array:
    """Weights (lam,) of which the negative ones are for steps of the expected length, not of that of their standard normal z
    (lam, d): a long step would make the covariance matrix indefinite (eq. 46)."""
    least = float(jnp.finfo(z.dtype).tiny) ** 0.5
    return jnp.where(weights >= 0, weights, weights * (z.shape[1] / jnp.maximum(jnp.sum(z * z, axis=1), least)))


def relative_length(path: jax.Array, free: jax.Array) -> jax.Array:
    """() the length of a path (d,) over what is expected of a random walk's, both in the coordinates that are free (d,)."""
    return jnp.linalg.norm(jnp.where(free, path, 0)) / length(count(free, path.dtype))


def count(free: jax.Array, dtype: Any) -> jax.Array:
    """() how many of the coordinates (d,) are free. At least one is, but where a compiled program computes twice on which side
    of a bound the mean is, and rounds in two ways."""
    return jnp.maximum(jnp.sum(free, dtype=dtype), 1)
