"""What all strategies share that sample from a Gaussian in the open: where it starts, and how samples get into the box.

Such a strategy searches in units of its initial standard deviation: a point of the box is `sigma * u`, and u is what the
mathematics of the strategy's own file is about. An initial sigma per coordinate is nothing else, then, and thresholds on step
sizes are relative to it.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxes import random
from jaxes.bounds import Bounds, Smooth
from jaxes.checks import as_number, check_choice, check_integer, check_value
from jaxes.operators.cma import Parameters, parameters
from jaxes.operators.sampling import SAMPLINGS, normal_vectors
from jaxes.pytree import assign, pytree, static
from jaxes.settings import has_finite_sides, point, positive
from jaxes.space import Space, as_space
from jaxes.strategy import Purpose, State, StopReason, Strategy, stream

FARTHEST = 1e8
"""Standard deviations at which a sample, of a huge box that rounding made of it, still can be squared in single precision."""


@pytree
class GaussianState(State):
    """What every such strategy remembers, in units of the initial sigma."""

    mean: jax.Array  # (d,)
    recent: jax.Array  # (10 + 30 d / lam,) at least: the best fitness of the last generations, in a ring; infinite before
    spread: jax.Array  # () largest less smallest fitness of the last generation
    drawn: Any  # (lam, d) between ask and tell: the samples in the open, in the space's units; else None


SMOOTH = Smooth()


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian(Strategy):
    """A strategy that implements `_begin`, `_points`, `_learn` and `_deviations`; `@pytree` makes it concrete.

    Args:
        space: a `Box` or a pytree of them.
        lam: candidates a generation; default 4 + floor(3 ln d), as in Hansen (2016), eq. 48.
        sigma: initial standard deviation, in the space's own units (the logarithm's on a log scale): a number, one per
            coordinate (d,), or a pytree like a solution. Default: 0.3 of the box's width.
        start: the initial mean, a solution. Default: uniform in the box.
        bounds: `Smooth()`, `Resample()`, `Clip()`, `Reflect()` or `Wrap()`.
        sampling: "independent", "mirrored", "orthogonal" or "sobol": see `jaxes.operators.sampling`.

    sigma and start are leaves: they can be swept, batched and changed without a new program. Where a strategy has `lam_max` and
    it is given, so is lam: populations then have lam_max rows, of which the first lam count. A generation takes the time of
    lam_max; `Result.evaluations` counts what counts.
    """

    LEAST: ClassVar[int] = 2
    """The smallest lam."""

    IGNORED: ClassVar[tuple[StopReason, ...]] = ()
    """Reasons to stop that make no sense for the strategy."""

    space: Space
    _: KW_ONLY
    lam: Any = static(default=None, unless="lam_max")  # noqa: RUF009
    sigma: Any = None
    start: Any = None
    bounds: Bounds = SMOOTH
    sampling: str = static(default="independent")

    def __post_init__(self):
        owner, space = type(self).__name__, as_space(self.space)
        lam = 4 + math.floor(3 * math.log(space.dimension)) if self.lam is None else self.lam
        lam = self._checked(owner, lam)
        check_choice(owner, "sampling", self.sampling, SAMPLINGS)
        if not isinstance(self.bounds, Bounds):
            raise TypeError(
                f"{owner}(bounds=...) must be Smooth(), Resample(), Clip(), Reflect() or Wrap(), got {self.bounds!r}."
            )
        assign(self, space=space, lam=lam)
        assign(self, sigma=positive(owner, space, "sigma", self.sigma), start=point(owner, space, "start", self.start))
        if not has_finite_sides(space):
            for name in ("start", "sigma"):
                if getattr(self, name) is None:
                    raise ValueError(f"{owner}({name}=...) must be given for a space with an infinite side.")

    def _checked(self, owner: str, lam: Any) -> Any:
        """lam as it is stored: an integer, or a leaf where there is a `lam_max`."""
        most = getattr(self, "lam_max", None)
        if most is None:
            return check_integer(owner, "lam", lam, at_least=self.LEAST)
        most = check_integer(owner, "lam_max", most, at_least=self.LEAST)
        if self.sampling == "mirrored":
            raise ValueError(f'{owner}(lam_max=...) does not go with sampling="mirrored", whose pairs it would tear apart.')
        may_be = f"an integer from {self.LEAST} to lam_max={most}"
        check_value(owner, "lam", lam, lambda v: (v == np.round(v)) & (v >= self.LEAST) & (v <= most), may_be)
        assign(self, lam_max=most)
        return as_number(owner, "lam", lam, np.int32)

    @abc.abstractmethod
    def _begin(self, state: GaussianState) -> Any:
        """The initial state, made from the shared one; the standard deviation is 1 in every coordinate."""

    @abc.abstractmethod
    def _points(self, state: Any, z: jax.Array) -> jax.Array:
        """The samples (lam, d), in units of sigma, of standard normal z (lam, d)."""

    @abc.abstractmethod
    def _learn(self, state: Any, u: jax.Array, fitness: jax.Array) -> Any:
        """The next state from points (lam, d), in units of sigma, and their fitness (lam,), which holds no NaN."""

    @abc.abstractmethod
    def _deviations(self, state: Any) -> jax.Array:
        """(d,) the standard deviation of every coordinate of what would be sampled next, in units of sigma."""

    def _sampled(self, state: Any, z: jax.Array) -> Any:
        """The state for `tell`, if it wants to know the z (lam, d) of the samples. What is told may have been moved since."""
        return state

    def _condition(self, state: Any) -> jax.Array:
        """() the condition number of the covariance matrix."""
        deviations = self._deviations(state)
        return jnp.square(deviations.max() / deviations.min())

    def _axis(self, state: Any, index: jax.Array) -> jax.Array:
        """(d,) a standard deviation along the principal axis of an index below d, in units of sigma."""
        at = jnp.arange(self.space.dimension, dtype=jnp.int32) == index
        return jnp.where(at, self._deviations(state), 0)

    @property
    def population_size(self) -> int:
        most = getattr(self, "lam_max", None)
        return self.lam if most is None else most

    @property
    def evaluations(self) -> Any:
        return self.lam

    def _parameters(self, dtype: Any) -> Parameters:
        """The tutorial's learning rates and weights; the latter are 0 for candidates that do not count."""
        d = self.space.dimension
        return parameters(d, self.lam) if isinstance(self.lam, int) else parameters(d, self.lam, self.population_size, dtype)

    def _remembered(self, lam: Any) -> Any:
        """Over how many generations the best fitness is compared, as in pycma."""
        return 10 + -(-30 * self.space.dimension // lam)

    def _unit(self) -> jax.Array:
        """(d,) the initial standard deviation."""
        if self.sigma is not None:
            return self.space.flatten(self.sigma, "sigma")
        lower, upper = self.space.bounds()
        return 0.3 * upper - 0.3 * lower

    def _init(self, state):
        lower, upper = self.space.bounds()
        if self.start is None:
            u = random.uniform(stream(state, Purpose.RECOMBINE), lower.shape, lower.dtype)
            mean = self.space.between(lower, upper, u)
        else:
            mean = jnp.clip(self.space.encode(self.start), lower, upper)
        least = self.lam if isinstance(self.lam, int) else min(4, self.population_size)
        return self._begin(
            GaussianState(
                **vars(state),
                mean=self.bounds.origin(mean, lower, upper) / self._unit(),
                recent=jnp.full(self._remembered(least), jnp.inf, mean.dtype),
                spread=jnp.asarray(jnp.inf, mean.dtype),
                drawn=None,
            )
        )

    def _ask(self, state):
        lower, upper = (side[None, :] for side in self.space.bounds())
        key, unit = stream(state, Purpose.SAMPLE), self._unit()[None, :]

        def vectors(attempt):
            return normal_vectors(random.fold_in(key, attempt), self.population_size, unit.shape[1], unit.dtype, self.sampling)

        def draw(attempt):
            return unit * self._points(state, vectors(attempt))

        z = vectors(0)
        x, drawn = self.bounds.population(unit * self._points(state, z), draw, lower, upper)
        return x, dataclasses.replace(self._sampled(state, z), drawn=drawn)

    def _tell(self, state, x, fitness):
        lower, upper = (side[None, :] for side in self.space.bounds())
        return self._told(state, self.bounds.learnt(x, state.drawn, lower, upper), fitness)

    def _tell_asked(self, state, x, fitness):
        return self._told(state, x if state.drawn is None else state.drawn, fitness)

    def _told(self, state: Any, points: jax.Array, fitness: jax.Array) -> Any:
        """The next state from points (lam, d) in the open, in the space's units."""
        told = self._learn(state, points / self._unit()[None, :], fitness)
        best, at = fitness.min(), state.generation % state.recent.shape[0]
        spread = jnp.where(jnp.isfinite(best), self.worst(fitness) - best, jnp.inf)
        return dataclasses.replace(told, recent=state.recent.at[at].set(best), spread=spread, drawn=None)

    def mean(self, state: Any) -> Any:
        """The mean of what would be sampled next, as a solution: the answer where one evaluation says little."""
        lower, upper = (side[None, :] for side in self.space.bounds())
        return self.space.decode(self.bounds.repair((self._unit() * state.mean)[None, :], lower, upper)[0])

    def step_size(self, state):
        return jnp.max(self._deviations(state) * self._unit())

    def stop_reason(self, state):
        """pycma's reasons, but for rounding: thresholds on fitness are not below its resolution, and a step has no effect when
        a whole standard deviation has none (there a tenth and a fifth): in single precision, the rest is still a way to go.
        """
        eps = float(jnp.finfo(self.space.dtype).eps)
        resolution = eps * jnp.abs(jnp.where(jnp.isfinite(state.best_fitness), state.best_fitness, 0))
        deviations = self._deviations(state)
        size = state.recent.shape[0]
        age = (state.generation - 1 - jnp.arange(size, dtype=jnp.int32)) % size
        counts = age < self._remembered(self.lam)
        history = state.recent.max(where=counts, initial=-jnp.inf) - state.recent.min(where=counts, initial=jnp.inf)
        # NaN, hence no reason, until all of it is known
        axis = self._axis(state, state.generation % self.space.dimension)
        reasons = {
            StopReason.EQUALFUNVALS: history == 0,
            StopReason.TOLFUN: jnp.maximum(history, state.spread) < jnp.maximum(1e-11, resolution),
            StopReason.TOLFUNHIST: history < jnp.maximum(1e-12, resolution),
            StopReason.TOLX: deviations.max() < jnp.maximum(1e-11, 4 * eps * jnp.abs(state.mean).max()),
            StopReason.TOLFACUPX: deviations.max() > 1e3,
            StopReason.CONDITIONCOV: self._condition(state) > min(1e14, 1 / eps),
            StopReason.NOEFFECTAXIS: jnp.all(state.mean + axis == state.mean),
            StopReason.NOEFFECTCOORD: jnp.any(state.mean + deviations == state.mean),
        }
        found = jnp.int32(StopReason.RUNNING)
        for reason, holds in reversed(reasons.items()):
            if reason not in self.IGNORED:
                found = jnp.where(holds & (state.generation > 0), jnp.int32(reason), found)
        return found


def floor(sigma: jax.Array, mean: jax.Array, deviations: jax.Array) -> jax.Array:
    """A step size () that rounding resolves around a mean (d,), for a distribution with these deviations (d,) at sigma = 1.

    Without it, a run that has converged goes on to divide the rounding of x - mean by nothing, and never finds back.
    """
    info = jnp.finfo(mean.dtype)
    least = jnp.maximum(info.eps * jnp.abs(mean).max(), info.tiny**0.5) / deviations.max()
    return jnp.maximum(jnp.minimum(sigma, float(info.max) ** 0.25), least)


def reach(z: jax.Array) -> jax.Array:
    """Factors (n, 1) that shorten z (n, d) to what a standard normal vector may be; 1 for every vector that was sampled.

    A candidate that was moved after `ask` may lie many deviations away, and would swamp all that was learnt. Source: N. Hansen,
    Injecting external solutions into CMA-ES (2011), arXiv 1110.4181, whose bound is tighter and would bend samples too.
    """
    length = jnp.linalg.norm(z, axis=1, keepdims=True)
    longest = z.shape[1] ** 0.5 + 6
    return jnp.where(jnp.isfinite(length), longest / jnp.maximum(length, longest), 0)
