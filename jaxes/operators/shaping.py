"""Fitness shaping: what an estimate of a gradient averages in the place of the fitness itself.

Shaped fitness grows with fitness, has mean zero over a population, is finite whatever the fitness was, and is the same for
equal fitness: a plateau has no gradient. The weights of ranks in the CMA-ES and NES families are no choice: their learning
rates are made for them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.operators.selection import counts

SHAPINGS = ("centered rank", "standardized", "utilities", "none")


def shaped(fitness: jax.Array, shaping: str, n: Any = None) -> jax.Array:
    """(rows,) shaped fitness of fitness (rows,), which holds no NaN.

    Args:
        shaping: "centered rank": from -1/2 for the best to 1/2 (Salimans et al. 2017); "standardized": of variance 1;
            "utilities": of ranks, as natural evolution strategies use them (Wierstra et al. 2014), which tell the better half
            apart and not the worse; "none": the fitness, less its mean over the population. With mirrored samples the mean
            makes no difference but for rounding; where samples are independent, it takes 1/n of the gradient off.
        n: () int32, if only the first n rows count: all others are infinite, and 0 when shaped. Default: all.

    Infinite fitness has a rank like any other; for "standardized" and "none" it counts as the worst (minus infinity: the best)
    of the finite ones.
    """
    rows, dtype = len(fitness), fitness.dtype
    n, counting = (rows, True) if n is None else (n, jnp.arange(rows, dtype=jnp.int32) < n)
    number = jnp.asarray(n, dtype)
    if shaping in ("centered rank", "utilities"):
        less, equal = counts(fitness)
        equal = jnp.minimum(equal, n - less)  # the worst of those that count may be equal to rows that do not
        if shaping == "centered rank":
            y = (2 * less + equal - n).astype(dtype) / (2 * (number - 1))
        else:
            total = _total_utilities(n, rows, dtype)
            y = (total[less + equal] - total[less]) / equal.astype(dtype)
        return jnp.where(counting, y, 0)
    y = _finite(fitness)
    y = y - y.min()  # equal fitness has a mean that rounding may set apart from it, but for 0
    y = jnp.where(counting, y - jnp.sum(y, where=counting) / number, 0)
    if shaping == "none":
        return y
    largest = jnp.abs(y).max()
    y = y / jnp.where(largest > 0, largest, 1)  # whose square neither overflows nor vanishes
    return y / jnp.where(largest > 0, jnp.sqrt(jnp.sum(jnp.square(y)) / number), 1)


def _total_utilities(n: Any, rows: int, dtype: Any) -> jax.Array:
    """(rows + 1,) the sum of the first 0, 1, 2, ... utilities of n times -n, which all together is exactly 0."""
    if isinstance(n, int):
        return jnp.asarray([0, *np.cumsum(-n * utilities(n))[:-1], 0], dtype)
    total = jnp.cumsum(-jnp.asarray(n, dtype) * utilities(n, rows, dtype))
    last = jnp.arange(1, rows + 1, dtype=jnp.int32) >= n
    return jnp.concatenate([jnp.zeros(1, dtype), jnp.where(last, 0, total)])


def utilities(n: Any, rows: int | None = None, dtype: Any = None) -> Any:
    """(n,) of ranks, best first, summing to zero (Wierstra et al. 2014, section 3.1). With `rows`, n is a number at most as
    large, known or traced, and there are `rows` of `dtype`, zeros after the first n."""
    raw = raw_utilities(n, rows, dtype)
    if rows is None:
        return raw / raw.sum() - 1 / n
    n = jnp.asarray(n, dtype)
    return raw / raw.sum() - jnp.where(jnp.arange(1, rows + 1, dtype=dtype) <= n, 1 / n, 0)


def raw_utilities(n: Any, rows: int | None = None, dtype: Any = None) -> Any:
    """The same before they are made to sum to one, less the part that is the same for all."""
    xp: Any = np if rows is None else jnp
    n = n if rows is None else jnp.asarray(n, dtype)
    rank = xp.arange(1, (n if rows is None else rows) + 1, dtype=dtype)
    return xp.maximum(0, xp.log(n / 2 + 1) - xp.log(rank))


def _finite(fitness: jax.Array) -> jax.Array:
    """Fitness (n,) within the range of its finite values, and within what can be squared; all the same if none is finite."""
    limit, known = float(jnp.finfo(fitness.dtype).max) ** 0.5, jnp.isfinite(fitness)
    best = jnp.min(fitness, where=known, initial=jnp.inf)
    worst = jnp.max(fitness, where=known, initial=-jnp.inf)
    return jnp.clip(jnp.clip(fitness, best, worst), -limit, limit)
