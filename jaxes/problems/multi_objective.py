"""Test problems of multi-objective optimisation with their Pareto fronts: Kursawe, ZDT1-6 and DTLZ1-7.

    problem = jaxes.problems.multi_objective.dtlz2(objectives=3)
    problem(x)                               # (3,), to be minimised
    problem.front(jax.random.key(0), 500)    # (500, 3), a reference set
    problem.optima(jax.random.key(0), 500)   # (500, 12), the solutions it is the image of

All is to be minimised. `front` and `optima` of the same key and count belong together, point by point; where a front is a
curve, one point is drawn uniformly by length from each of `count` equal arcs, in order; where it is a surface, points are
independent. Under `jit`, `count` is static.

Squares of sines replace 1 - cos, and cos(pi/2 x) is sin(pi/2 (1 - x)), which is 0 at 1 and never below: float32 then
resolves how far a solution is from the front, and no objective of the DTLZ family becomes negative by rounding.

References: F. Kursawe (1991), A variant of evolution strategies for vector optimization, PPSN I.
E. Zitzler, K. Deb, L. Thiele (2000), Comparison of multiobjective evolutionary algorithms: empirical results,
Evolutionary Computation 8(2).
K. Deb, L. Thiele, M. Laumanns, E. Zitzler (2001, 2005), Scalable test problems for evolutionary multiobjective
optimization; their numbering is used.
S. Huband, P. Hingston, L. Barone, L. While (2006), A review of multiobjective test problems and a scalable test problem
toolkit, IEEE Transactions on Evolutionary Computation 10(5): what the fronts of DTLZ5 and DTLZ6 are not.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes import random
from jaxes.checks import as_key, check_integer
from jaxes.problems.problem import MultiObjective
from jaxes.space import Box


@dataclasses.dataclass(frozen=True)
class _With:
    """`function` with its last arguments given. Unlike those of lambdas, two of the same settings are one program."""

    function: Callable[..., Any]
    settings: tuple

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments, *self.settings)


def _optima(key: Any, count: int, draw: Callable, settings: tuple) -> jax.Array:
    return draw(as_key("optima", key), check_integer("optima", "count", count, at_least=1), *settings)


def _front(key: Any, count: int, function: Callable, draw: Callable, settings: tuple) -> jax.Array:
    key, count = as_key("front", key), check_integer("front", "count", count, at_least=1)
    return jax.vmap(function)(draw(key, count, *settings))


def _problem(
    name: str,
    function: Callable,
    space: Box,
    objectives: int,
    draw: Callable | None,
    settings: tuple = (),
    front_is_known: bool = True,
) -> MultiObjective:
    optima = None if draw is None else _With(_optima, (draw, settings))
    front = None if draw is None or not front_is_known else _With(_front, (function, draw, settings))
    return MultiObjective(function, space, objectives, front, optima, name)


# Sampling curves that are known on the host as chains of points


def _strata(key: jax.Array, count: int) -> jax.Array:
    """(count,) numbers, one uniform in each of `count` equal parts of [0, 1)."""
    dtype = jnp.result_type(float)
    return (jnp.arange(count).astype(dtype) + random.uniform(key, (count,), dtype)) / count


def _shares(pieces: list[np.ndarray]) -> np.ndarray:
    """(points,) the share of the total length that lies before each point of a curve in pieces, each (points, m)."""
    steps = [np.append(0.0, np.linalg.norm(np.diff(piece, axis=0), axis=1)) for piece in pieces]
    length = np.cumsum(np.concatenate(steps))
    return length / length[-1]


def _along(share: jax.Array, shares: np.ndarray, nodes: np.ndarray) -> jax.Array:
    """The point (d,) at a share () of a curve through the nodes (points, d); two nodes of one share are a gap."""
    at, points = jnp.asarray(shares, share.dtype), jnp.asarray(nodes, share.dtype)
    after = jnp.clip(jnp.searchsorted(at, share, side="right"), 1, len(shares) - 1)
    width = jnp.maximum(at[after] - at[after - 1], jnp.finfo(share.dtype).tiny)
    weight = jnp.clip((share - at[after - 1]) / width, 0, 1)
    return points[after - 1] * (1 - weight) + points[after] * weight


def _root(function: Callable[[Any], Any], positive: float, negative: float) -> float:
    """Where a function changes its sign, on the side that is not positive."""
    for _ in range(80):
        middle = (positive + negative) / 2
        positive, negative = (middle, negative) if function(middle) > 0 else (positive, middle)
    return negative


def _records(curve: Callable[[Any], Any], slope: Callable[[Any], Any]) -> list[tuple[float, float]]:
    """The intervals of [0, 1] on which a curve is below all that is to its left: what is not dominated."""
    t = np.linspace(0, 1, 10_001)
    value = curve(t)
    below = np.append(True, value[1:] < np.minimum.accumulate(value)[:-1])
    starts = np.flatnonzero(below & ~np.append(False, below[:-1]))
    ends = np.flatnonzero(below & ~np.append(below[1:], False))
    intervals: list[tuple[float, float]] = []
    for start, end in zip(starts, ends, strict=True):
        lower = 0.0
        if intervals:
            best = curve(intervals[-1][1])
            lower = _root(lambda s: curve(s) - best, t[start - 1], t[start])  # noqa: B023, called before best changes
        upper = t[end] if end == len(t) - 1 else _root(lambda s: -slope(s), t[end - 1], t[end + 1])
        intervals.append((lower, upper))
    return intervals


# Kursawe


def _kursawe(x: jax.Array) -> jax.Array:
    distance = jnp.sqrt(x[:-1] * x[:-1] + x[1:] * x[1:])
    f1 = jnp.sum(-10 * jnp.exp(-0.2 * distance))
    f2 = jnp.sum(jnp.abs(x) ** 0.8 + 5 * jnp.sin(x * x * x))
    return jnp.stack([f1, f2])


def kursawe(dimension: int = 3) -> MultiObjective:
    """Kursawe (1991): f1 = sum over i < n of -10 exp(-0.2 sqrt(x_i^2 + x_{i+1}^2)), f2 = sum of |x_i|^0.8 + 5 sin(x_i^3).

    Box +-5. The front has no closed form. For 2 and 3 dimensions it is computed once, in about a second: the isolated
    point of x = 0, and 2 or 3 curves. Points are within 1e-6 of the front, and the curves' ends within 1e-5 of its ends.
    The isolated point is drawn as if it were a hundredth of the length, so that a set of 100 has it. Of the solutions
    that only differ in their order (x reversed), `optima` draws one. For other dimensions, `front` and `optima` are None.

    The cube is inside of the sine, as in Deb's book (2001) and in most software; some papers read sin(x_i)^3, which is
    another problem.

    Raises:
        ValueError: dimension < 2.
    """
    dimension = check_integer("kursawe", "dimension", dimension, at_least=2)
    space = Box(-5.0, 5.0, shape=(dimension,))
    return _problem("kursawe", _kursawe, space, 2, _kursawe_optima if dimension <= 3 else None, (dimension,))


def _kursawe_optima(key: jax.Array, count: int, dimension: int) -> jax.Array:
    shares, nodes = _kursawe_front(dimension)
    return jax.vmap(lambda share: _along(share, shares, nodes))(_strata(key, count))


# With r = |x|, the best sign makes f2 = sum b(r_i), b(r) = r^0.8 - 5 |sin(r^3)|, and f1 grows in every r_i. So r_i can only be
# optimal where b is below all its values to the left: at 0, and from where b becomes negative to its minimum.


def _b(r: Any) -> Any:
    return r**0.8 - 5 * np.sin(r**3)


def _b_slope(r: Any) -> Any:
    return 0.8 * r**-0.2 - 15 * r**2 * np.cos(r**3)


def _kursawe_values(r: np.ndarray) -> np.ndarray:
    """(points, 2) the objectives at x = -r, (points, n)."""
    f1 = -10 * np.exp(-0.2 * np.hypot(r[:, 1:], r[:, :-1])).sum(axis=1)
    return np.stack([f1, _b(r).sum(axis=1)], axis=1)


def _not_dominated(r: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """Those whose f2 is less than `slack` above the best that a lower f1 has, in the order of f1."""
    f = _kursawe_values(r)
    order = np.lexsort((f[:, 1], f[:, 0]))
    f2 = f[order, 1]
    return r[order][np.append(True, f2[1:] < np.minimum.accumulate(f2)[:-1] + slack)]


@functools.cache
def _kursawe_front(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and nodes (points, n) of the Pareto set, in the order of f1.

    A grid says which coordinates are 0 and where to start from; Newton's method then minimises f2 at given values of f1.
    Between its points, lines deviate from the set by the square of their length, and f from the front by the square of that.
    """
    lower = _root(_b, 0.3, 0.6)
    upper = _root(lambda r: -_b_slope(r), 1.0, 1.3)
    choices = np.append(0.0, np.linspace(lower, upper, 60))
    grid = np.stack(np.meshgrid(*dimension * [choices], indexing="ij"), axis=-1).reshape(-1, dimension)
    grid = grid[(grid[:, 0] <= grid[:, -1]) & (grid > 0).any(axis=1)]
    front = _not_dominated(grid, slack=0.03)

    # Every curve ends where all r that are not 0 have the lowest b.
    ends = np.array([r for r in itertools.product((0.0, lower, upper), repeat=dimension) if any(r) and r[0] <= r[-1]])
    levels = np.linspace(-10.0 * (dimension - 1), _kursawe_values(np.full((1, dimension), upper))[0, 0], 1500)
    step = levels[1] - levels[0]
    for _ in range(3):  # closer and closer to where curves begin
        front = _not_dominated(np.concatenate([ends, _minimise_f2(front, levels, lower, upper)]))
        f1 = _kursawe_values(front)[:, 0]
        begins = np.flatnonzero(_breaks(front)) + 1
        finer = [np.linspace(max(f1[at - 1], f1[at] - step), f1[at], 50) for at in begins]
        levels, step = np.union1d(levels, finer), step / 49

    pieces = np.split(front, np.flatnonzero(_breaks(front)) + 1)
    shares = np.append([0.0, 0.01], 0.01 + 0.99 * _shares([_kursawe_values(piece) for piece in pieces]))
    return shares, 0.0 - np.concatenate([np.zeros((2, dimension)), front])  # a minus would make zeros negative


def _breaks(r: np.ndarray) -> np.ndarray:
    """(points - 1,) whether other coordinates are 0 in the next point."""
    return ((r[1:] > 0) != (r[:-1] > 0)).any(axis=1)


def _minimise_f2(starts: np.ndarray, levels: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """The lowest f2 at each of given values of f1, where there is one near: Newton's method from the 8 nearest starts.

    The starts are in the order of f1. Coordinates that are 0 stay so.
    """
    nearest = np.searchsorted(_kursawe_values(starts)[:, 0], levels)[:, None] + np.arange(-4, 4)[None, :]
    r = starts[np.clip(nearest, 0, len(starts) - 1).reshape(-1)]
    f1 = np.repeat(levels, 8)
    d = r.shape[1]
    free = r > 0
    multiplier = None
    for _ in range(12):
        s = np.where(free, r, 1.0)
        gradient2 = np.where(free, _b_slope(s), 0.0)
        curvature2 = -0.16 * s**-1.2 - 30 * s * np.cos(s**3) + 45 * s**4 * np.sin(s**3)
        gradient1, hessian = np.zeros(r.shape), np.zeros((*r.shape, d))
        for i in range(d - 1):
            pair = r[:, i : i + 2]
            distance = np.maximum(np.hypot(*pair.T), 1e-300)[:, None]
            direction = pair / distance
            slope = 2 * np.exp(-0.2 * distance)
            outer = direction[:, :, None] * direction[:, None, :]
            gradient1[:, i : i + 2] += slope * direction
            across = (np.eye(2)[None, :, :] - outer) / distance[:, :, None]
            hessian[:, i : i + 2, i : i + 2] += slope[:, :, None] * (across - 0.2 * outer)
        gradient1 = np.where(free, gradient1, 0.0)
        if multiplier is None:
            multiplier = -(gradient1 * gradient2).sum(axis=1) / (gradient1**2).sum(axis=1)
        hessian = np.where(free[:, :, None] & free[:, None, :], multiplier[:, None, None] * hessian, 0.0)
        hessian[:, range(d), range(d)] += np.where(free, curvature2, 1.0)
        system = np.block([[hessian, gradient1[:, :, None]], [gradient1[:, None, :], np.zeros((len(r), 1, 1))]])
        rest = gradient2 + multiplier[:, None] * gradient1, (_kursawe_values(r)[:, 0] - f1)[:, None]
        residual = np.concatenate(rest, axis=1)
        change = np.linalg.solve(system, -residual[:, :, None])[:, :, 0]
        r = np.where(free, np.clip(r + np.clip(change[:, :d], -0.05, 0.05), lower, upper), 0.0)
        multiplier = multiplier + change[:, d]
    converged = np.abs(residual).max(axis=1) < 1e-9
    f2 = np.where(converged, _kursawe_values(r)[:, 1], np.inf).reshape(-1, 8)
    best = r.reshape(-1, 8, d)[np.arange(len(f2)), f2.argmin(axis=1)]
    return best[np.isfinite(f2).any(axis=1)]


# ZDT: f1 of the first variable, g of the others, f2 = g h(f1, g). All fronts have g = 1.


def _g(x: jax.Array) -> jax.Array:
    return 1 + 9 * jnp.mean(x[1:])


def _zdt1(x: jax.Array) -> jax.Array:
    g = _g(x)
    return jnp.stack([x[0], g * (1 - jnp.sqrt(x[0] / g))])


def zdt1(dimension: int = 30) -> MultiObjective:
    """Zitzler, Deb, Thiele (2000), T1, convex: f1 = x1, g = 1 + 9 mean(x2, ...), f2 = g (1 - sqrt(f1 / g)).

    Box [0, 1]. Front: f2 = 1 - sqrt(f1) for f1 in [0, 1], with the other variables 0.

    Raises:
        ValueError: dimension < 2.
    """
    return _zdt("zdt1", _zdt1, dimension, _convex)


def _zdt2(x: jax.Array) -> jax.Array:
    g = _g(x)
    return jnp.stack([x[0], g * (1 - jnp.square(x[0] / g))])


def zdt2(dimension: int = 30) -> MultiObjective:
    """Zitzler, Deb, Thiele (2000), T2, concave: as `zdt1` with f2 = g (1 - (f1 / g)^2). Front: f2 = 1 - f1^2.

    Raises:
        ValueError: dimension < 2.
    """
    return _zdt("zdt2", _zdt2, dimension, _concave)


def _zdt3(x: jax.Array) -> jax.Array:
    g = _g(x)
    ratio = x[0] / g
    return jnp.stack([x[0], g * (1 - jnp.sqrt(ratio) - ratio * jnp.sin(10 * math.pi * x[0]))])


def zdt3(dimension: int = 30) -> MultiObjective:
    """Zitzler, Deb, Thiele (2000), T3, disconnected: as `zdt1` with f2 = g (1 - sqrt(f1 / g) - f1 / g sin(10 pi f1)).

    Front: the five parts of f2 = 1 - sqrt(f1) - f1 sin(10 pi f1) on which it is below all that is to the left.

    Raises:
        ValueError: dimension < 2.
    """
    return _zdt("zdt3", _zdt3, dimension, _disconnected)


def _zdt4(x: jax.Array) -> jax.Array:
    rest = x[1:]
    g = 1 + jnp.sum(rest * rest + 20 * jnp.square(jnp.sin(2 * math.pi * rest)))
    return jnp.stack([x[0], g * (1 - jnp.sqrt(x[0] / g))])


def zdt4(dimension: int = 10) -> MultiObjective:
    """Zitzler, Deb, Thiele (2000), T4, multimodal: as `zdt1` with g = 1 + 10 (n - 1) + sum of x_i^2 - 10 cos(4 pi x_i), i > 1.

    Box [0, 1] for x1, +-5 for the others. Front: that of `zdt1`; 21^(n - 1) local fronts.

    Raises:
        ValueError: dimension < 2.
    """
    return _zdt("zdt4", _zdt4, dimension, _convex, half_width=5.0)


def _zdt5(x: jax.Array) -> jax.Array:
    bits = (x >= 0.5).astype(x.dtype)
    ones = jnp.sum(bits[30:].reshape(-1, 5), axis=1)
    f1 = 1 + jnp.sum(bits[:30])
    return jnp.stack([f1, jnp.sum(jnp.where(ones < 5, 2 + ones, jnp.ones_like(ones))) / f1])


def zdt5(dimension: int = 80) -> MultiObjective:
    """Zitzler, Deb, Thiele (2000), T5, deceptive, on bits: a string of 30 bits and m - 1 strings of 5, with u ones each.

    f1 = 1 + u1, f2 = g / f1, where g sums 1 for every further string of five ones, and 2 + u for every other.
    Box [0, 1]: a coordinate of 0.5 or more is a one. Front: the 31 points (f1, (m - 1) / f1) with f1 = 1, ..., 31, equally
    often (each once if count is 31). In `optima`, the ones of the first string come first.

    Args:
        dimension: the number of bits, 30 + 5 (m - 1); 80 makes the m = 11 strings of the paper.

    Raises:
        ValueError: dimension is not 35, 40, 45, ...
    """
    dimension = check_integer("zdt5", "dimension", dimension, at_least=35)
    if dimension % 5:
        raise ValueError(f"zdt5(dimension=...) must be 30 + 5 k for k strings of 5 bits, got {dimension}.")
    return _problem("zdt5", _zdt5, Box(0.0, 1.0, shape=(dimension,)), 2, _zdt5_optima, (dimension,))


def _zdt5_optima(key: jax.Array, count: int, dimension: int) -> jax.Array:
    ones = jnp.floor(31 * _strata(key, count))
    first = np.arange(30)[None, :].astype(ones.dtype) < ones[:, None]
    return jnp.concatenate([first.astype(ones.dtype), jnp.ones((count, dimension - 30), ones.dtype)], axis=1)


def _zdt6(x: jax.Array) -> jax.Array:
    f1 = 1 - jnp.exp(-4 * x[0]) * jnp.sin(6 * math.pi * x[0]) ** 6
    g = 1 + 9 * jnp.mean(x[1:]) ** 0.25
    return jnp.stack([f1, g * (1 - jnp.square(f1 / g))])


def zdt6(dimension: int = 10) -> MultiObjective:
    """Zitzler, Deb, Thiele (2000), T6, biased: f1 = 1 - exp(-4 x1) sin(6 pi x1)^6, g = 1 + 9 mean(x2, ...)^0.25.

    f2 = g (1 - (f1 / g)^2). Box [0, 1]. Front: f2 = 1 - f1^2 for f1 in [0.2807753191, 1], with the other variables 0. Many x1
    have the same f1; `optima` draws the lowest.

    Raises:
        ValueError: dimension < 2.
    """
    return _zdt("zdt6", _zdt6, dimension, _biased)


def _zdt(name: str, function: Callable, dimension: int, curve: Callable, half_width: float | None = None) -> MultiObjective:
    dimension = check_integer(name, "dimension", dimension, at_least=2)
    if half_width is None:
        space = Box(0.0, 1.0, shape=(dimension,))
    else:
        upper = np.append(1.0, np.full(dimension - 1, half_width))
        space = Box(np.append(0.0, -upper[1:]), upper)
    return _problem(name, function, space, 2, _zdt_optima, (dimension, curve))


def _zdt_optima(key: jax.Array, count: int, dimension: int, curve: Callable) -> jax.Array:
    shares, nodes = curve()
    first = jax.vmap(lambda share: _along(share, shares, nodes))(_strata(key, count))
    return jnp.concatenate([first, jnp.zeros((count, dimension - 1), first.dtype)], axis=1)


@functools.cache
def _convex() -> tuple[np.ndarray, np.ndarray]:
    """Shares and x1 (points, 1) of the front, here for `zdt1` and `zdt4`."""
    root = np.linspace(0, 1, 1001)
    return _shares([np.stack([root**2, 1 - root], axis=1)]), root[:, None] ** 2


@functools.cache
def _concave() -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0, 1, 1001)
    return _shares([np.stack([x, 1 - x**2], axis=1)]), x[:, None]


def _zdt3_front(x: ArrayLike) -> Any:
    return 1 - np.sqrt(x) - x * np.sin(10 * np.pi * x)


@functools.cache
def _disconnected() -> tuple[np.ndarray, np.ndarray]:
    def slope(x):
        return -0.5 / np.sqrt(x) - np.sin(10 * np.pi * x) - 10 * np.pi * x * np.cos(10 * np.pi * x)

    pieces = [np.linspace(lower**0.5, upper**0.5, 301) ** 2 for lower, upper in _records(_zdt3_front, slope)]
    return _shares([np.stack([x, _zdt3_front(x)], axis=1) for x in pieces]), np.concatenate(pieces)[:, None]


@functools.cache
def _biased() -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(math.atan(9 * math.pi) / (6 * math.pi), 0, 1001)  # f1 falls from 1 to its minimum
    f1 = 1 - np.exp(-4 * x) * np.sin(6 * np.pi * x) ** 6
    return _shares([np.stack([f1, 1 - f1**2], axis=1)]), x[:, None]


# DTLZ: the first M - 1 variables say where on the front, the other k how far from it, g >= 0.


def _chain(keep: jax.Array, leave: jax.Array) -> jax.Array:
    """(M,) f1 = keep_1 ... keep_{M-1}, f_m = keep_1 ... keep_{M-m} leave_{M-m+1}."""
    kept = jnp.concatenate([jnp.ones_like(keep[:1]), jnp.cumprod(keep)])
    return (kept * jnp.append(leave, jnp.ones_like(leave[:1])))[::-1]


def _on_sphere(angle: jax.Array) -> jax.Array:
    """(M,) the point of the unit sphere at angles (M - 1,) in [0, 1], in right angles."""
    return _chain(jnp.sin(math.pi / 2 * (1 - angle)), jnp.sin(math.pi / 2 * angle))


def _g_rastrigin(rest: jax.Array) -> jax.Array:
    away = rest - 0.5
    return 100 * jnp.sum(away * away + 2 * jnp.square(jnp.sin(10 * math.pi * away)))


def _g_sphere(rest: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(rest - 0.5))


def _dtlz1(x: jax.Array, objectives: int) -> jax.Array:
    first, rest = x[: objectives - 1], x[objectives - 1 :]
    return 0.5 * (1 + _g_rastrigin(rest)) * _chain(first, 1 - first)


def dtlz1(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ1, a plane behind 11^k - 1 local fronts.

    f1 = (1 + g) / 2 x1 ... x_{M-1}, f_m = (1 + g) / 2 x1 ... x_{M-m} (1 - x_{M-m+1}), g = 100 (k + sum over the last k
    variables of (x_i - 0.5)^2 - cos(20 pi (x_i - 0.5))). Box [0, 1]. Front: the objectives sum to 0.5, the last k variables
    being 0.5; drawn uniformly by area.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 5.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz1", _dtlz1, objectives, dimension, 5, _plane_optima)


def _dtlz2(x: jax.Array, objectives: int) -> jax.Array:
    return (1 + _g_sphere(x[objectives - 1 :])) * _on_sphere(x[: objectives - 1])


def dtlz2(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ2, a sphere.

    With angles x_i pi / 2: f1 = (1 + g) cos ... cos, f_m = (1 + g) cos(angle_1) ... cos(angle_{M-m}) sin(angle_{M-m+1}),
    g = sum of (x_i - 0.5)^2 over the last k variables. Box [0, 1]. Front: the part of the unit sphere where no objective is
    negative, the last k variables being 0.5; drawn uniformly by area.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 10.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz2", _dtlz2, objectives, dimension, 10, _sphere_optima, (1,))


def _dtlz3(x: jax.Array, objectives: int) -> jax.Array:
    return (1 + _g_rastrigin(x[objectives - 1 :])) * _on_sphere(x[: objectives - 1])


def dtlz3(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ3: `dtlz2`, its front too, with the g of `dtlz1` and its local fronts.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 10.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz3", _dtlz3, objectives, dimension, 10, _sphere_optima, (1,))


def _dtlz4(x: jax.Array, objectives: int) -> jax.Array:
    return (1 + _g_sphere(x[objectives - 1 :])) * _on_sphere(x[: objectives - 1] ** 100)


def dtlz4(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ4: `dtlz2`, its front too, with angles x_i^100 pi / 2.

    Almost all of the box is seen from one edge of the front. The power also multiplies the rounding of x_i by 100.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 10.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz4", _dtlz4, objectives, dimension, 10, _sphere_optima, (100,))


def _on_curve(x: jax.Array, g: jax.Array, objectives: int) -> jax.Array:
    others = (1 + 2 * g * x[1 : objectives - 1]) / (2 * (1 + g))
    return (1 + g) * _on_sphere(jnp.concatenate([x[:1], others]))


def _dtlz5(x: jax.Array, objectives: int) -> jax.Array:
    return _on_curve(x, _g_sphere(x[objectives - 1 :]), objectives)


def dtlz5(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ5: `dtlz2` with angles that shrink to a curve on the way to the front.

    The first angle is x1 pi / 2, the others are pi / (4 (1 + g)) (1 + 2 g x_i). Box [0, 1]. Front: where g = 0, the last k
    variables being 0.5, the arc of a circle between (0, ..., 0, 1) and the diagonal of the other objectives (the quarter
    circle for two objectives), drawn uniformly by length.

    That is the whole front for two and three objectives. From four on, solutions with g > 0 are not dominated either, against
    the paper (Huband et al. 2006), and the front is not known: `front` is None, and `optima` are optimal, but not all that is.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 10.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz5", _dtlz5, objectives, dimension, 10, _curve_optima, (0.5,), most_objectives=3)


def _dtlz6(x: jax.Array, objectives: int) -> jax.Array:
    return _on_curve(x, jnp.sum(x[objectives - 1 :] ** 0.1), objectives)


def dtlz6(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ6: `dtlz5` with g = sum of x_i^0.1, hard to bring to 0.

    The front is that of `dtlz5`, and not known either from four objectives on; the last k variables are 0 on it.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 10.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz6", _dtlz6, objectives, dimension, 10, _curve_optima, (0.0,), most_objectives=3)


def _dtlz7(x: jax.Array, objectives: int) -> jax.Array:
    first, rest = x[: objectives - 1], x[objectives - 1 :]
    # (1 + g) (M - sum of f_i / (1 + g) (1 + sin(3 pi f_i))) without the division; g of the paper is 1 + 9 mean(rest)
    last = (2 + 9 * jnp.mean(rest)) * objectives - jnp.sum(first * (1 + jnp.sin(3 * math.pi * first)))
    return jnp.append(first, last)


def dtlz7(objectives: int = 3, dimension: int | None = None) -> MultiObjective:
    """Deb, Thiele, Laumanns, Zitzler (2005), DTLZ7, in 2^(M - 1) disconnected parts.

    f_i = x_i for i < M, f_M = (1 + g) (M - sum over i < M of f_i / (1 + g) (1 + sin(3 pi f_i))), g = 1 + 9 times the mean of
    the last k variables. Box [0, 1]. Front: the last k variables are 0, and each other is where t (1 + sin(3 pi t)) is above
    all that is to the left, in [0, 0.2514] or [0.6316, 0.8594]; drawn uniformly in the first M - 1 objectives.

    Args:
        objectives: M.
        dimension: M + k - 1; default: k = 20.

    Raises:
        ValueError: objectives < 2, or dimension < objectives.
    """
    return _dtlz("dtlz7", _dtlz7, objectives, dimension, 20, _parts_optima)


def _dtlz(
    name: str,
    function: Callable,
    objectives: int,
    dimension: int | None,
    k: int,
    draw: Callable,
    settings: tuple = (),
    most_objectives: float = math.inf,
) -> MultiObjective:
    objectives = check_integer(name, "objectives", objectives, at_least=2)
    if dimension is None:
        dimension = objectives + k - 1
    dimension = check_integer(name, "dimension", dimension, at_least=2)
    if dimension < objectives:
        raise ValueError(f"{name}(dimension=...) must be at least objectives={objectives}, got {dimension}.")
    space = Box(0.0, 1.0, shape=(dimension,))
    of_x = _With(function, (objectives,))
    return _problem(name, of_x, space, objectives, draw, (objectives, dimension, *settings), objectives <= most_objectives)


def _with_rest(first: jax.Array, dimension: int, value: float) -> jax.Array:
    rest = jnp.full((first.shape[0], dimension - first.shape[1]), value, first.dtype)
    return jnp.concatenate([first, rest], axis=1)


def _plane_optima(key: jax.Array, count: int, objectives: int, dimension: int) -> jax.Array:
    # Of a uniform point of the simplex, the share of the first j + 1 coordinates that is in the first j is Beta(j, 1).
    j = np.arange(objectives - 1, 0, -1)
    first = random.uniform(key, (count, objectives - 1), jnp.result_type(float))
    return _with_rest(first ** jnp.asarray(1 / j, first.dtype)[None, :], dimension, 0.5)


def _sphere_optima(key: jax.Array, count: int, objectives: int, dimension: int, power: int) -> jax.Array:
    point = jax.random.normal(key, (count, objectives), jnp.result_type(float))
    before = jnp.sqrt(jnp.cumsum(point * point, axis=1))
    angle = jnp.arctan2(jnp.abs(point[:, :0:-1]), before[:, -2::-1]) * (2 / math.pi)
    return _with_rest(jnp.minimum(angle, 1) ** (1 / power), dimension, 0.5)


def _curve_optima(key: jax.Array, count: int, objectives: int, dimension: int, rest: float) -> jax.Array:
    first_key, others_key = jax.random.split(key)
    first = _strata(first_key, count)
    others = random.uniform(others_key, (count, objectives - 2), first.dtype)  # anywhere: their angles are 45 degrees
    return _with_rest(jnp.concatenate([first[:, None], others], axis=1), dimension, rest)


def _parts_optima(key: jax.Array, count: int, objectives: int, dimension: int) -> jax.Array:
    shares, nodes = _parts()
    share = random.uniform(key, (count * (objectives - 1),), jnp.result_type(float))
    first = jax.vmap(lambda s: _along(s, shares, nodes))(share)
    return _with_rest(first.reshape(count, objectives - 1), dimension, 0.0)


@functools.cache
def _parts() -> tuple[np.ndarray, np.ndarray]:
    """Shares and ends (points, 1) of the intervals in which each of the first M - 1 objectives of `dtlz7` is optimal.

    The last objective is a sum over them, so that one is optimal whatever the others are.
    """

    def slope(t):
        return -1 - np.sin(3 * np.pi * t) - 3 * np.pi * t * np.cos(3 * np.pi * t)

    ends = [np.array(interval)[:, None] for interval in _records(lambda t: -t * (1 + np.sin(3 * np.pi * t)), slope)]
    return _shares(ends), np.concatenate(ends)


ALL = {f.__name__: f for f in (kursawe, zdt1, zdt2, zdt3, zdt4, zdt5, zdt6, dtlz1, dtlz2, dtlz3, dtlz4, dtlz5, dtlz6, dtlz7)}
"""Every problem by its name: a function that makes it, with the paper's numbers of variables and objectives by default."""
