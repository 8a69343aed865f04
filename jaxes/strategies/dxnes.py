"""CR-FM-NES and DX-NES-IC, natural evolution strategies that look where they are.

Both tell by a path of the mean, as long as that of CMA-ES' step size, whether the distribution moves, stagnates or converges,
and choose learning rates for it; while it moves, good samples weigh the more, the farther from the mean they lie. DX-NES-IC is
XNES with these, and stretches its axes further where they have just grown. CR-FM-NES restricts the covariance matrix to
sigma**2 D (I + v v^T) D with a diagonal D and one vector v. Candidates whose fitness is infinite or NaN are infeasible: they
rank last, the nearest to the mean first, and learning rates shrink with the number of the others. Invariant to translation and
to monotone transforms of f, DX-NES-IC to rotation too. O(d**3) and O(lam d) a generation.

For standard normal samples z_i of rank i, of which n of lam are feasible, with weights w_i of ranks that add up to 1:
    p <- (1 - c) p + sqrt(c (2 - c) mu_eff) sum (w_i - 1 / lam) z_i,    c = (mu_eff + 2) / (d + mu_eff + 5)
    the search moves where |p| >= chi, the length of a standard normal vector; stagnates where |p| >= chi / 10; else converges
    while it moves, weights are like w_i exp(alpha |z_i|), and less 1 / lam always, where
    alpha = a sqrt(min(1, lam / d) n / lam) for the a with (1 + a**2) exp(a**2 / 2) / 0.24 = 10 + d
    DX-NES-IC's stretch: gamma <- (1 - c_g) gamma + c_g sqrt(1 + min(1, d / lam) max tau), at least 1, c_g = 1 / (3 (d - 1)),
    where tau is the share by which the variance along an axis has grown; all with tau > 0 are stretched while it moves

References: M. Nomura & I. Ono, Fast Moving Natural Evolution Strategy for High-Dimensional Problems, IEEE CEC 2022 (arXiv
2201.11422), and the authors' package crfmnes 1.0; the natural gradient of D and v is that of VD-CMA: Y. Akimoto, A. Auger &
N. Hansen, Comparison-based natural gradient optimization in high dimension, GECCO 2014. M. Nomura, N. Sakai, N. Fukushima &
I. Ono, Distance-weighted Exponential Natural Evolution Strategy for Implicitly Constrained Black-Box Function Optimization,
IEEE CEC 2021, and `cmaes.DXNESIC`.
Departures: DX-NES-IC remembers gamma, the degree of the stretch, over generations, as its successor DX-NES-ICI does
(dxnesici 1.0.4); cmaes 0.13 forgets it. No axis grows or shrinks by more than e**2 in a generation before it is stretched.
No element of CR-FM-NES' D loses more than 90 % in a generation, where the authors' gets negative on a long diagonal ridge (of
condition 1e6, which neither follows to its end). The learning rate of its path, negative for d < 5, is 0 there. Step sizes and
condition numbers stay within what rounding resolves.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxes.gaussian import Gaussian, GaussianState, Rooted, fitted_deviations, floor, in_deviations, reach, within
from jaxes.operators import cma
from jaxes.operators.linalg import eigh
from jaxes.operators.matrix import lengths, mul
from jaxes.operators.sampling import normal_vectors
from jaxes.operators.selection import ranks
from jaxes.operators.shaping import raw_utilities
from jaxes.pytree import pytree, static
from jaxes.strategies.nes import LONGEST, _turned, _usable
from jaxes.strategy import Purpose, stream

MOST = 0.9
"""What share of itself an element of D may lose in a generation."""


class Situation(NamedTuple):
    """What the samples of a generation say about the search."""

    path: jax.Array  # (d,) p_sigma
    moves: jax.Array  # () bool
    stagnates: jax.Array  # () bool; it converges if it does neither
    feasible: jax.Array  # () how many of the candidates are
    weights: jax.Array  # (lam,) which sum to 0
    eta_sigma: jax.Array  # () the learning rate of the step size


def situation(
    path: jax.Array, lengths: jax.Array, average: Callable[[jax.Array], jax.Array], fitness: jax.Array, lam: Any
) -> Situation:
    """From the path (d,) so far, the lengths of standard normal samples z, (lam,) or more of which the first lam count, their
    average (d,) with any weights, and fitness."""
    d, (raw, mu_eff) = path.shape[0], _weights(lam, lengths)
    counts = jnp.arange(len(lengths), dtype=path.dtype) < lam
    c_sigma = (mu_eff + 2) / (d + mu_eff + 5)
    feasible = fitness < jnp.inf
    distances = jnp.where(feasible, -jnp.inf, jnp.where(counts, lengths, jnp.inf))
    order = jnp.where(feasible, ranks(fitness), ranks(distances))
    hat = jnp.asarray(raw / raw.sum(), path.dtype)[order]
    even = jnp.where(counts, 1 / lam, 0).astype(path.dtype)
    path = (1 - c_sigma) * path + (c_sigma * (2 - c_sigma) * mu_eff) ** 0.5 * average(hat - even)

    length, chi = jnp.linalg.norm(path), cma.length(d)
    moves, stagnates = length >= chi, (length < chi) & (length >= 0.1 * chi)
    count = jnp.sum(feasible, dtype=path.dtype)
    alpha = _root_of_h(d) * jnp.sqrt(jnp.minimum(1, lam / d) * count / lam)
    farthest = jnp.max(lengths, where=hat > 0, initial=0)  # whose exponential would overflow
    far = hat * jnp.exp(alpha * jnp.minimum(lengths - farthest, 0))
    return Situation(
        path=path,
        moves=moves,
        stagnates=stagnates,
        feasible=count,
        weights=jnp.where(moves, far / far.sum(), hat) - even,
        eta_sigma=_choose(
            moves,
            stagnates,
            1.0,
            jnp.tanh((0.024 * count + 0.7 * d + 20) / (d + 12)),
            2 * jnp.tanh((0.025 * count + 0.75 * d + 10) / (d + 4)),
        ),
    )


def _weights(lam: Any, samples: jax.Array) -> tuple[Any, Any]:
    """What the ranks of samples weigh before they are made to sum to one, and how many candidates that amounts to."""
    raw = raw_utilities(lam) if isinstance(lam, int) else raw_utilities(lam, len(samples), samples.dtype)
    return raw, cma.effective(raw)


def _choose(moves: jax.Array, stagnates: jax.Array, *values: ArrayLike) -> jax.Array:
    """The first of three values where it moves, the second where it stagnates, and else the third."""
    moving, stagnating, converging = values
    return jnp.where(moves, moving, jnp.where(stagnates, stagnating, converging))


def _root_of_h(d: int) -> float:
    """a > 0 with (1 + a**2) exp(a**2 / 2) / 0.24 = 10 + d, by Newton's method from above."""
    a = 10.0
    for _ in range(100):
        power = math.exp(-a * a / 2)
        a -= (1 + a * a - 0.24 * (10 + d) * power) / (a * (3 + a * a))
    return a


@pytree
class DXNESICState(GaussianState):
    """What DX-NES-IC learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    root: jax.Array  # (d, d) B, of determinant 1: the covariance matrix is sigma**2 B B^T
    whiten: jax.Array  # (d, d) the inverse of B
    path: jax.Array  # (d,) p_sigma
    gamma: jax.Array  # () at least 1, by how much axes that grow are stretched


@pytree
class DXNESIC(Rooted):
    """Distance-weighted exponential natural evolution strategy for implicit constraints (Nomura et al. 2021).

    Constraints are implicit where it takes an evaluation to know whether a candidate is feasible: let the objective return
    infinity or NaN if it is not.

    Args:
        space, lam, lam_max, sigma, start, bounds: see `jaxes.gaussian.Gaussian`.
        sampling: as there; default "mirrored", as in the paper.
    """

    _: KW_ONLY
    sampling: str = static(default="mirrored")

    def _begin(self, state):
        eye, one = jnp.eye(self.space.dimension, dtype=state.mean.dtype), jnp.ones((), state.mean.dtype)
        return DXNESICState(**vars(state), sigma=one, root=eye, whiten=eye, path=jnp.zeros_like(state.mean), gamma=one)

    def _learn(self, state, u, fitness):
        d, lam = self.space.dimension, self._number(u.dtype)
        y = in_deviations(u, state.mean, state.sigma)
        z = mul(y, state.whiten.T)
        y, z = reach(z) * y, reach(z) * z
        now = situation(state.path, lengths(z), lambda w: mul(w, z), fitness, lam)
        eta = _choose(now.moves, now.stagnates, 180.0, 168.0, 12.0) * d * jnp.tanh(0.02 * now.feasible) / (47 * d**2 + 6400)
        turned = _turned(state.root, state.whiten, y, z, now.weights, eta)
        mean = state.mean + state.sigma * mul(now.weights, y)
        sigma = state.sigma * jnp.exp(jnp.clip(now.eta_sigma / 2 * turned.trace / d, -LONGEST, LONGEST))

        # The axes of the old B B^T that have grown are stretched by gamma.
        axes = eigh(mul(state.root, state.root.T))[1]
        tau = jnp.sum(jnp.square(mul(turned.root.T, axes)), axis=0) / jnp.sum(jnp.square(mul(state.root.T, axes)), axis=0) - 1
        c_gamma = 1 / (3 * max(d - 1, 1))
        gamma = (1 - c_gamma) * state.gamma + c_gamma * jnp.sqrt(1 + jnp.minimum(1, d / lam) * tau.max())
        gamma = jnp.maximum(gamma, 1)
        factor, grown = jnp.where(now.moves, gamma, 1), tau > 0
        total = factor ** (jnp.sum(grown, dtype=u.dtype) / d)  # the d-th root of the stretch's determinant
        grown = mul(jnp.where(grown[None, :], axes, 0), axes.T)
        turned = turned._replace(
            root=(turned.root + (factor - 1) * mul(grown, turned.root)) / total,
            whiten=total * (turned.whiten + (1 / factor - 1) * mul(turned.whiten, grown)),
        )
        root, whiten, usable = _usable(turned, state.root, state.whiten)
        sigma = floor(sigma * jnp.where(usable, total, 1), mean, jnp.linalg.norm(root, axis=1))
        gamma = jnp.where(usable, gamma, state.gamma)
        return dataclasses.replace(state, mean=mean, sigma=sigma, root=root, whiten=whiten, path=now.path, gamma=gamma)


@pytree
class CRFMNESState(GaussianState):
    """What CR-FM-NES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    scales: jax.Array  # (d,) D; the determinant of D (I + v v^T) D is 1
    vector: jax.Array  # (d,) v
    path_sigma: jax.Array  # (d,)
    path_c: jax.Array  # (d,)


@pytree
class CRFMNES(Gaussian):
    """Cost-reduced fast-moving natural evolution strategy (Nomura & Ono 2022): time and memory linear in d.

    Candidates whose fitness is infinite or NaN are infeasible, as for `DXNESIC`.

    Args:
        space, lam, lam_max, sigma, start, bounds: see `jaxes.gaussian.Gaussian`.
        sampling: as there; default "mirrored", as in the paper.
    """

    _: KW_ONLY
    sampling: str = static(default="mirrored")

    def _begin(self, state):
        d, dtype = self.space.dimension, state.mean.dtype
        one, zero = jnp.ones_like(state.mean), jnp.zeros_like(state.mean)
        vector = normal_vectors(stream(state, Purpose.MUTATE), 1, d, dtype)[0] / d**0.5
        return CRFMNESState(**vars(state), sigma=one[0], scales=one, vector=vector, path_sigma=zero, path_c=zero)

    def _fitted(self, state, steps, width):
        scale, scales = fitted_deviations(steps, width)
        scales = scales / _spread(state.vector, jnp.ones_like(scales))
        size = _size(state.vector, scales)
        return dataclasses.replace(state, sigma=scale * size, scales=scales / size)

    def _points(self, state, z):
        square = jnp.sum(jnp.square(state.vector))
        y = z + _along(z, state.vector, jnp.sqrt(1 + square) - 1)
        return state.mean[None, :] + (state.sigma * state.scales)[None, :] * y

    def _learn(self, state, u, fitness):
        # z = y + shorter (y v) v for a v of length 1 is never stored, nor what `reach` leaves of y: on a CPU, a generation in
        # many dimensions takes the time of reading and writing arrays like the population.
        d, lam, unit = self.space.dimension, self._number(u.dtype), _unit(state.vector)[0]
        y = in_deviations(u, state.mean, (state.sigma * state.scales)[None, :])
        inner, shorter = mul(y, unit), 1 / jnp.sqrt(1 + jnp.sum(jnp.square(state.vector))) - 1
        length = lengths(y + (shorter * inner)[:, None] * unit[None, :])
        factor = within(length, d)

        def average(w):
            return mul(factor * w, y) + shorter * jnp.sum(factor * w * inner) * unit

        now = situation(state.path_sigma, factor * length, average, fitness, lam)
        _, mu_eff = _weights(lam, y)
        eta = jnp.tanh((jnp.minimum(0.02 * now.feasible, 3 * math.log(d)) + 5) / (0.23 * d + 25))
        learnt = eta * now.weights * jnp.square(factor)
        step, mixed = mul(jnp.stack([now.weights * factor, learnt * inner]), y)
        step = state.scales * step
        mean = state.mean + state.sigma * step
        c_c = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d)
        path_c = (1 - c_c) * state.path_c + (c_c * (2 - c_c) * mu_eff) ** 0.5 * step

        c_1 = 2 / ((d + 1.3) ** 2 + mu_eff) * max(d - 5, 0) / 6 * now.feasible / lam
        path = path_c / state.scales
        along = jnp.sum(path * unit)
        by_v, by_d = _natural_gradient(
            state.vector,
            total=eta * jnp.sum(now.weights) + c_1,
            inner=jnp.sum(learnt * jnp.square(inner)) + c_1 * jnp.square(along),
            mixed=mixed + c_1 * along * path,
            squares=mul(learnt, jnp.square(y)) + c_1 * jnp.square(path),
        )
        growth = now.eta_sigma / 2 * jnp.sum(now.weights * jnp.square(factor * length)) / d
        sigma = state.sigma * jnp.exp(jnp.clip(growth, -LONGEST, LONGEST))
        told = dataclasses.replace(state, mean=mean, sigma=sigma, path_sigma=now.path, path_c=path_c)
        share = MOST / jnp.maximum(-by_d.min(), MOST)
        return _normalised(told, state.vector + share * by_v, state.scales * (1 + share * by_d))

    def _deviations(self, state):
        return state.sigma * _spread(state.vector, state.scales)

    def _condition(self, state):
        # Between the condition number and 1 / d**2 of it: the largest diagonal elements of the matrix and of its inverse.
        square = jnp.square(state.vector)
        variances, inverse = (
            jnp.square(state.scales) * (1 + square),
            (1 - square / (1 + square.sum())) / jnp.square(state.scales),
        )
        return variances.max() * inverse.max()


def _along(rows: jax.Array, vector: jax.Array, factor: jax.Array) -> jax.Array:
    """The parts of rows (n, d) along a vector (d,), times a factor ()."""
    unit = _unit(vector)[0]
    return (factor * mul(rows, unit))[:, None] * unit[None, :]


def _unit(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A vector (d,) of length 1, or of 0, and the length () that it had."""
    length = jnp.maximum(jnp.linalg.norm(vector), float(jnp.finfo(vector.dtype).tiny) ** 0.25)
    return vector / length, length


def _natural_gradient(
    vector: jax.Array, total: jax.Array, inner: jax.Array, mixed: jax.Array, squares: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """How v and, relative to themselves, the elements of D follow rows y = D**-1 (x - m) / sigma with weights w: sums over rows
    of w, of w (y v)**2, each (), of w (y v) y and of w y**2, each (d,), for a v of length 1.

    The names are those of the authors' code, where the sum over samples comes last.
    """
    v, length = _unit(vector)
    square = jnp.square(length)
    gamma, vv = 1 + square, jnp.square(v)
    alpha = jnp.sqrt(jnp.square(square) + (2 * gamma - jnp.sqrt(gamma)) / vv.max()) / (2 + square)
    alpha = jnp.minimum(alpha, 1)
    b = 2 * jnp.square(alpha) - (1 - jnp.square(alpha)) * jnp.square(square) / gamma
    h = 2 - (b + 2 * jnp.square(alpha)) * vv

    t = mixed - (inner + gamma * total) / 2 * v
    s = squares - square / gamma * v * mixed - total
    s = s - alpha / gamma * ((2 + square) * v * t - square * jnp.sum(v * t) * vv)
    s = s / h - b / (1 + b * jnp.sum(vv * vv / h)) * jnp.sum(vv / h * s) * vv / h
    t = t - alpha * ((2 + square) * v * s - jnp.sum(vv * s) * v)
    return t / length, s


def _spread(vector: jax.Array, scales: jax.Array) -> jax.Array:
    """(d,) square roots of the diagonal of D (1 + v v^T) D."""
    return scales * jnp.sqrt(1 + jnp.square(vector))


def _size(vector: jax.Array, scales: jax.Array) -> jax.Array:
    """() the 2d-th root of the determinant of D (1 + v v^T) D."""
    return jnp.exp(jnp.mean(jnp.log(scales)) + jnp.log1p(jnp.sum(jnp.square(vector))) / (2 * vector.shape[0]))


def _normalised(state: CRFMNESState, vector: jax.Array, scales: jax.Array) -> CRFMNESState:
    """The state with D and v of a matrix of determinant 1, in numbers that rounding resolves; else with the old ones.

    They are the old ones as well where no step is longer than a few times the rounding of the mean: there, ranks say nothing,
    and after thousands of generations of that, D and v would belong to a long thin ridge.
    """
    eps = float(jnp.finfo(vector.dtype).eps)
    unit, length = _unit(vector)
    vector = unit * jnp.minimum(length, eps**-0.5)
    scales = jnp.maximum(scales, eps * scales.max())
    scales = scales / _size(vector, scales)
    resolved = jnp.max(state.sigma * _spread(vector, scales)) > 4 * eps * jnp.abs(state.mean).max()
    usable = jnp.isfinite(scales).all() & jnp.isfinite(vector).all() & resolved
    vector, scales = jnp.where(usable, vector, state.vector), jnp.where(usable, scales, state.scales)
    sigma = floor(state.sigma, state.mean, _spread(vector, scales))
    return dataclasses.replace(state, sigma=sigma, vector=vector, scales=scales)
