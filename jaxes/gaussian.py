"""What all strategies share that sample from a Gaussian in the open: where it starts, and how samples get into the box.

Such a strategy searches in units of its initial standard deviation: a point of the box is `sigma * u`, and u is what the
mathematics of the strategy's own file is about. An initial sigma per coordinate is nothing else, then, and thresholds on step
sizes are relative to it.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxes import random
from jaxes.bounds import Bounds, Resample, Source, representable
from jaxes.branch import any_lane, where_due
from jaxes.checks import as_number, check_value
from jaxes.operators.linalg import cholesky, solve_triangular
from jaxes.operators.matrix import diagonal, lengths, mul
from jaxes.operators.sampling import check_sampling, normal_vectors
from jaxes.operators.selection import ranks, truncation
from jaxes.pytree import assign, pytree, static, where
from jaxes.settings import check_beginning, check_bounds, initial_deviations, point, population, positive
from jaxes.space import Space, as_space
from jaxes.strategy import Purpose, Sized, State, StopReason, first_reason, found, negligible, stream


@pytree
class Stagnation:
    """Whether fitness still gets better, from one window of generations to the next, each a tenth of the run at least."""

    end: jax.Array  # () int32, generation at which the window ends
    now: jax.Array  # (2,) the best, and the smallest median (or mean: see `_typical`) of a generation in this window
    before: jax.Array  # (2,) and in the window before
    stalled: jax.Array  # () bool, whether the last window brought nothing


@pytree
class Rest:
    """Where the mean has stayed, and since when."""

    place: jax.Array  # (d,) in units of the initial sigma
    since: jax.Array  # () int32, the generation whose mean that was


FARTHEST = 1e8
"""Standard deviations at which a step still can be squared in single precision. Rounding makes longer ones of samples around
the mean of a huge box. And what is used in two places, a compiled program may compute twice and round in two ways: a step that
is found too long in one is not in the other."""


@pytree
class GaussianState(State):
    """What every such strategy remembers, in units of the initial sigma."""

    mean: jax.Array  # (d,)
    recent: jax.Array  # (10 + 30 d / lam,) at least: the best fitness of the last generations, the newest last; infinite before
    spread: jax.Array  # () largest less smallest fitness of the last generation
    progress: Stagnation
    rest: Rest
    control: Any  # what the control of the step size remembers; None if nothing
    drawn: Any  # (lam, d) between ask and tell: the samples in the open, in the space's units; else None
    known: Any  # between ask and tell: what `_known` says of the samples; else None
    told: Any  # () int32 evaluations, up to what 31 bits hold, where lam is a value; else None


RESAMPLE = Resample()

PATIENCE = 500
"""Generations before a run may stagnate, as in pycma."""

EARLY = 20
"""Generations in which one candidate lies on the sides of the box that are near: corners are found at once, or not sought."""

AT_REST = 1e-9
"""Initial standard deviations that a mean may move and still be at rest, as in pycma."""


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian(Sized):
    """A strategy that implements `_begin`, `_points`, `_learn` and `_deviations`; `@pytree` makes it concrete.

    Args:
        space: a `Box` or a pytree of them.
        lam: candidates a generation; default 4 + floor(3 ln d), as in Hansen (2016), eq. 48.
        lam_max: how many they may be; given, lam is a value: see below.
        sigma: initial standard deviation, in the space's own units (the logarithm's on a log scale): a number, one per
            coordinate (d,), or a pytree like a solution. Default: 0.2 of the box's width, with which CMA-ES with restarts
            reaches more targets of the BBOB suite than with 0.3: more of its first candidates are inside.
        start: the initial mean, a solution. Default: uniform in the box.
        bounds: `Resample()`, `Clip()`, `Smooth()`, `Reflect()` or `Wrap()`.
        sampling: "independent", "mirrored", "orthogonal" or "sobol": see `jaxes.operators.sampling`.

    sigma and start are leaves: they can be swept, batched and changed without a new program. Where `lam_max` is given, so is
    lam: populations then have lam_max rows, of which the first lam count (mirrored pairs lie side by side). A generation takes
    the time of lam_max; `Result.evaluations` counts what counts.
    """

    LEAST: ClassVar[int] = 2
    """The smallest lam."""

    AVERAGES: ClassVar[bool] = True
    """Whether the mean is an average of points: where bounds move it, what is learnt is moved with it, and samples may be moved
    to sides that are near or that the mean is beyond. (Gradients are estimated from samples as they were drawn.)"""

    WIDE: ClassVar[float] = 0.2
    """The initial standard deviation where none is given, over the box's width."""

    IGNORED: ClassVar[tuple[StopReason, ...]] = ()
    """Reasons to stop that make no sense for the strategy."""

    space: Space
    _: KW_ONLY
    lam: Any = static(default=None, unless="lam_max")  # noqa: RUF009
    lam_max: int | None = static(default=None)
    sigma: Any = None
    start: Any = None
    bounds: Bounds = RESAMPLE
    sampling: str = static(default="independent")

    def __post_init__(self):
        owner, space = type(self).__name__, as_space(self.space)
        lam = default_lam(space.dimension) if self.lam is None else self.lam
        lam, most = population(owner, lam, self.lam_max, self.LEAST)
        check_sampling(owner, self.sampling, space.dimension)
        check_bounds(owner, self.bounds)
        assign(self, space=space, lam=lam, lam_max=most)
        assign(self, sigma=positive(owner, space, "sigma", self.sigma), start=point(owner, space, "start", self.start))
        check_beginning(owner, space, start=self.start, sigma=self.sigma)

    @abc.abstractmethod
    def _begin(self, state: GaussianState) -> Any:
        """The initial state, made from the shared one; the standard deviation is 1 in every coordinate."""

    @abc.abstractmethod
    def _points(self, state: Any, z: jax.Array) -> jax.Array:
        """The samples (lam, d), in units of sigma, of standard normal z (lam, d)."""

    def _seen(self, state: Any, u: jax.Array) -> Any:
        """What `_learn` is shown of points u (lam, d), in units of sigma: themselves, or a pytree of (lam, k)."""
        return u

    @abc.abstractmethod
    def _learn(self, state: Any, seen: Any, fitness: jax.Array) -> Any:
        """The next state from `_seen` of points, and their fitness (lam,), which holds no NaN."""

    def _center(self, state: Any, seen: Any, fitness: jax.Array, told: Any) -> jax.Array:
        """(d,) the mean of the state that was `told`, by which bounds judge; where less than a whole lesson tells it."""
        return told.mean

    @abc.abstractmethod
    def _deviations(self, state: Any) -> jax.Array:
        """(d,) the standard deviation of every coordinate of what would be sampled next, in units of sigma."""

    def _known(self, state: Any, z: jax.Array) -> Any:
        """A pytree of (lam, k) that `_seen` finds in `state.known`, of the z (lam, d) of the samples. What is told may have
        been moved since."""
        return None

    def _uncontrolled(self, mean: jax.Array) -> Any:
        """What the control of the step size remembers at first, of a mean (d,)."""
        return None

    def _aimed(self, state: Any, z: jax.Array) -> jax.Array:
        """The standard normal z (lam, d), some of them turned to where they tell more."""
        return z

    def _condition(self, state: Any) -> jax.Array:
        """() the condition number of the covariance matrix."""
        deviations = self._deviations(state)
        return jnp.square(deviations.max() / deviations.min())

    def columns(self, state):
        """As in Hansen's programs: the square root of the condition number, sigma where there is one for all coordinates, the
        least and the largest deviation; in the space's own units."""
        deviations = self._deviations(state) * self._unit()
        sigma = {"sigma": state.sigma * self._unit().max()} if hasattr(state, "sigma") else {}
        ends = {"min std": deviations.min(), "max std": deviations.max()}
        return {"axis ratio": jnp.sqrt(self._condition(state))} | sigma | ends

    def _axis(self, state: Any, index: jax.Array) -> jax.Array:
        """(d,) a standard deviation along the principal axis of an index below d, in units of sigma."""
        at = jnp.arange(self.space.dimension, dtype=jnp.int32) == index
        return jnp.where(at, self._deviations(state), 0)

    @abc.abstractmethod
    def _fitted(self, state: Any, steps: jax.Array, width: jax.Array) -> Any:
        """The state with standard deviations of its own kind as near as may be to those of steps (n, d) from the mean.

        To their covariance matrix, `width` () squared is added, the variance that every coordinate has at least. All in units
        of sigma.
        """

    def warm_start(self, state: Any, solutions: Any, fitness: ArrayLike, share: float = 0.1, width: ArrayLike = 0.5) -> Any:
        """The state before the first generation that begins where a task like this one had its best solutions.

        Its mean is theirs, and where the strategy learns standard deviations (or correlations too), they are theirs, a bit
        wider. What was found is evaluated anew: the fitness of two tasks is not to be compared.

        Args:
            state: of `init`.
            solutions: what was evaluated on the other task, each leaf with a leading axis n.
            fitness: (n,) smaller is better, NaN counts as worst.
            share: of the n, how many count: the best ones.
            width: a standard deviation that is added to theirs, over the initial sigma. With the default sigma, 0.5 is a tenth
                of the box's width.

        Returns:
            a state for `ask`, or for `run(state=...)`.

        Raises:
            ValueError: solutions that are none of the space, of another number than fitness values, or too few.

        Source: M. Nomura, S. Watanabe, Y. Akimoto, Y. Ozaki & M. Onishi, Warm starting CMA-ES for hyperparameter optimization
        (2021), arXiv 2012.06932, section 4, with its gamma and alpha of 0.1.
        """
        owner = f"{type(self).__name__}.warm_start"
        x, fitness = found(owner, self.space, solutions, fitness)
        lower, upper = (side[None, :] for side in self.space.bounds())
        x = self.bounds.origin(x, lower, upper)
        share = as_number(owner, "share", share, float)
        check_value(owner, "share", share, lambda v: (v > 0) & (v <= 1), "above 0 and at most 1")
        width = as_number(owner, "width", width, x.dtype)
        check_value(owner, "width", width, lambda v: (v > 0) & np.isfinite(v), "positive and finite")
        count = math.floor(share * len(x) + 1e-9)
        if count < 1:
            raise ValueError(
                f"{owner}(share=...) leaves none of {len(x)} solutions; it must be at least 1 / {len(x)}, got {share}."
            )
        x = x[truncation(fitness, count)[1]]
        away = self.bounds.away(x, x[:1], lower, upper)  # the shortest way, where the box is periodic
        center = jnp.mean(away, axis=0)
        mean, steps = self.bounds.home(x[:1] + center[None, :], lower, upper)[0] / self._unit(), away - center[None, :]
        width = jnp.maximum(width, float(jnp.finfo(x.dtype).tiny) ** 0.25)  # whose square is a number
        fitted = self._fitted(state, steps / self._unit()[None, :], width)
        return dataclasses.replace(fitted, mean=mean, rest=Rest(mean, state.rest.since))

    def enlarged(self, factor):
        return dataclasses.replace(self, lam=factor * self.lam)

    def rescaled(self, factor):
        return dataclasses.replace(self, sigma=factor * self._unit())

    def _rows(self, dtype: Any) -> tuple[Any, ...]:
        """What functions of the population size take to make constants and weights (population_size,): lam alone, or, where it
        is a value, also the number of rows and their dtype."""
        return (self.lam,) if self.lam_max is None else (self.lam, self.population_size, dtype)

    def _remembered(self, lam: Any) -> Any:
        """Over how many generations the best fitness is compared, as in pycma."""
        return 10 + -(-30 * self.space.dimension // lam)

    def _unit(self) -> jax.Array:
        """(d,) the initial standard deviation."""
        return initial_deviations(self.space, "sigma", self.sigma, self.WIDE)

    def _init(self, state):
        lower, upper = self.space.bounds()
        if self.start is None:
            u = random.uniform(stream(state, Purpose.RECOMBINE), lower.shape, lower.dtype)
            mean = self.space.between(lower, upper, u)
        else:
            mean = jnp.clip(self.space.encode(self.start), lower, upper)
        # One length for all populations from the default size on: they may follow each other in one state.
        least = min(default_lam(self.space.dimension), self.population_size)
        nothing = jnp.full(2, jnp.inf, mean.dtype)
        mean = self.bounds.origin(mean, lower, upper) / self._unit()
        return self._begin(
            GaussianState(
                **vars(state),
                mean=mean,
                recent=jnp.full(self._remembered(least), jnp.inf, mean.dtype),
                spread=nothing[0],
                progress=Stagnation(self._window(state.generation), nothing, nothing, jnp.zeros((), bool)),
                rest=Rest(mean, state.generation),
                control=self._uncontrolled(mean),
                drawn=None,
                known=None,
                told=self._told_first(),
            )
        )

    def _ask(self, state):
        lower, upper = (side[None, :] for side in self.space.bounds())
        key, unit = stream(state, Purpose.SAMPLE), self._unit()[None, :]

        def draw(attempt):
            key_of = random.fold_in(key, attempt)
            in_pairs = self.lam_max is not None
            z = normal_vectors(key_of, self.population_size, unit.shape[1], unit.dtype, self.sampling, in_pairs)
            z = self._aimed(state, z)
            return unit * self._points(state, z), self._known(state, z)

        source = None
        if self.AVERAGES:
            early = state.generation < EARLY
            source = Source(unit * state.mean[None, :], unit * self._deviations(state)[None, :], early)
        x, drawn, known = self.bounds.population(draw, lower, upper, source)
        return x, dataclasses.replace(state, drawn=drawn, known=known)

    def _tell(self, state, x, fitness):
        lower, upper = (side[None, :] for side in self.space.bounds())
        unit = self._unit()[None, :]
        points = self.bounds.learnt(x, state.drawn, state.mean[None, :] * unit, lower, upper)
        points = jnp.where(jnp.isnan(points), unit * state.mean[None, :], points)  # nothing is learnt of where they are
        learn = jax.jit(self._learn, inline=True)  # traced once, for both lessons

        def seen_from(points: jax.Array) -> Any:
            # A huge box's may have overflown, and are no farther away than that where the unit is as huge.
            return self._seen(state, representable(representable(points) / unit))

        seen = seen_from(points)
        told = learn(state, seen, fitness)
        mean = representable(self._center(state, seen, fitness, told)[None, :] * unit)
        deviations = self._deviations(state)[None, :] * unit
        confined = self.bounds.confined(mean, deviations, lower, upper)
        if confined is not mean and self.AVERAGES:  # of the first lesson, only the mean is computed

            def moved(_: Any) -> Any:
                return seen_from(points - (mean - confined))

            # What is known of the samples holds as long as their mean is where it was.
            seen = moved(seen) if state.known is None else where_due(jnp.any(confined != mean), moved, seen)
            told = learn(state, seen, fitness)
        home = self.bounds.home(confined, lower, upper)
        if home is not mean:
            told = dataclasses.replace(told, mean=jnp.where(home == mean, told.mean[None, :], home / unit)[0])
        best = fitness.min()
        spread = jnp.where(jnp.isfinite(best), self.worst(state, fitness) - best, jnp.inf)
        return dataclasses.replace(
            told,
            recent=jnp.concatenate([state.recent[1:], best[None]]),
            spread=spread,
            progress=self._progressed(state, jnp.stack([best, self._typical(state, fitness)])),
            rest=self._rested(state, told.mean),
            drawn=None,
            known=None,
            told=self._told_next(state),
        )

    def _typical(self, state: Any, fitness: jax.Array) -> jax.Array:
        """() what gets better as long as a run does, besides the best: the median of a generation."""
        return jnp.min(fitness, where=ranks(fitness) >= self.lam // 2, initial=jnp.inf)

    def _window(self, generation: jax.Array) -> jax.Array:
        """() int32, over how many generations from this one on fitness is to get better: pycma's, about."""
        d = self.space.dimension
        least = jnp.asarray(50 + int(50 * d**1.5) // self.lam, jnp.int32)
        return jnp.maximum(least, generation // 10)

    def _progressed(self, state: Any, seen: jax.Array) -> Stagnation:
        """What the best of a generation and a typical one (2,) add."""
        old = state.progress
        now, ends = jnp.minimum(old.now, seen), state.generation + 1 >= old.end
        worse = jnp.all(now >= old.before) & jnp.isfinite(now[0]) & (state.generation >= PATIENCE)
        return Stagnation(
            end=jnp.where(ends, old.end + self._window(old.end), old.end),
            now=jnp.where(ends, jnp.inf, now),
            before=jnp.where(ends, now, old.before),
            stalled=jnp.where(ends, worse, old.stalled),
        )

    def _rested(self, state: Any, mean: jax.Array) -> Rest:
        """Where the mean stays after a generation that left it at (d,)."""
        rest, now = state.rest, state.generation + 1
        times = jnp.maximum((now - rest.since).astype(mean.dtype) / self._restful(now), 1)
        moved = jnp.linalg.norm(mean - rest.place) > jnp.sqrt(times) * jnp.maximum(AT_REST, self._rounding(state))
        return Rest(jnp.where(moved, mean, rest.place), jnp.where(moved, now, rest.since))

    def _restful(self, generation: jax.Array) -> jax.Array:
        """() the generations after which a mean that stays is at rest."""
        return 20 + generation.astype(self.space.dtype) / 10

    def _at_rest(self, state: Any) -> jax.Array:
        """() bool"""
        stayed = (state.generation - state.rest.since).astype(self.space.dtype)
        return stayed > self._restful(state.generation)

    def _rounding(self, state: Any) -> jax.Array:
        """() what rounding leaves of a coordinate of the mean."""
        return 4 * float(jnp.finfo(self.space.dtype).eps) * jnp.abs(state.mean).max()

    def mean(self, state: Any) -> Any:
        """The mean of what would be sampled next, as a solution: the answer where one evaluation says little."""
        lower, upper = (side[None, :] for side in self.space.bounds())
        return self.space.decode(self.bounds.repair((self._unit() * state.mean)[None, :], lower, upper)[0])

    def step_size(self, state):
        return jnp.max(self._deviations(state) * self._unit())

    def _history(self, state: Any) -> tuple[jax.Array, jax.Array]:
        """() the least and the largest of the recent values that count; infinite until all are known."""
        recent, first = state.recent, state.recent.shape[0] - self._remembered(self.lam)
        if isinstance(first, int):
            return recent[first:].min(), recent[first:].max()
        counts = jnp.arange(recent.shape[0], dtype=jnp.int32) >= first
        return recent.min(where=counts, initial=jnp.inf), recent.max(where=counts, initial=-jnp.inf)

    def fitness_range(self, state):
        least, largest = self._history(state)
        return jnp.maximum(largest - least, state.spread)

    def stop_reason(self, state):
        """pycma's reasons, but for rounding: thresholds on fitness are not below its resolution, and a step has no effect when
        a whole standard deviation has none (there a tenth and a fifth): in single precision, the rest is still a way to go.
        """
        eps = float(jnp.finfo(self.space.dtype).eps)
        deviations = self._deviations(state)
        least, largest = self._history(state)
        history = largest - least  # NaN, hence no reason for anything, until all are known
        axis = self._axis(state, state.generation % self.space.dimension)
        reasons = {
            StopReason.EQUALFUNVALS: history == 0,
            StopReason.TOLFUN: jnp.maximum(history, state.spread) < negligible(1e-11, state.best_fitness),
            StopReason.TOLFUNHIST: history < negligible(1e-12, state.best_fitness),
            StopReason.TOLX: deviations.max() < jnp.maximum(1e-11, self._rounding(state)),
            StopReason.TOLXSTAGNATION: self._at_rest(state),
            StopReason.TOLFACUPX: deviations.max() > 1e3,
            StopReason.CONDITIONCOV: self._condition(state) > min(1e14, 1 / eps),
            StopReason.NOEFFECTAXIS: jnp.all(state.mean + axis == state.mean),
            StopReason.NOEFFECTCOORD: jnp.any(state.mean + deviations == state.mean),
            StopReason.STAGNANT: state.progress.stalled,
            StopReason.NONFINITE: jnp.isinf(least) & (least == largest) & (state.generation >= self._remembered(self.lam)),
        }
        return first_reason(state, {reason: holds for reason, holds in reasons.items() if reason not in self.IGNORED})


def default_lam(d: int) -> int:
    """Candidates a generation in d dimensions (Hansen 2016, eq. 48)."""
    return 4 + math.floor(3 * math.log(d))


def floor(sigma: jax.Array, mean: jax.Array, deviations: jax.Array) -> jax.Array:
    """A step size () that rounding resolves around a mean (d,), for a distribution with these deviations (d,) at sigma = 1.

    Without it, a run that has converged goes on to divide the rounding of x - mean by nothing, and never finds back.
    """
    info = jnp.finfo(mean.dtype)
    least = jnp.maximum(info.eps * jnp.abs(mean).max(), info.tiny**0.5) / deviations.max()
    return jnp.maximum(jnp.minimum(sigma, float(info.max) ** 0.25), least)


@dataclasses.dataclass(frozen=True, eq=False)
class Rooted(Gaussian):
    """A strategy whose state holds its covariance matrix as sigma**2 A A^T: `sigma` (), `root` (d, d) A `whiten` A^-1."""

    def _fitted(self, state, steps, width):
        scale, root = fitted_root(steps, width)
        whiten = solve_triangular(root, jnp.eye(root.shape[0], dtype=root.dtype), lower=True)
        return dataclasses.replace(state, sigma=scale, root=root, whiten=whiten)

    def _points(self, state, z):
        return state.mean[None, :] + state.sigma * mul(z, state.root.T)

    def _deviations(self, state):
        return state.sigma * jnp.linalg.norm(state.root, axis=1)

    def _condition(self, state):
        return condition(state.root, state.whiten)

    def _axis(self, state, index):
        return state.sigma * shortest_axis(state.whiten)


def steps_and_normals(
    state: Any, u: jax.Array, deviations: jax.Array, solve: Callable[[jax.Array], jax.Array]
) -> tuple[jax.Array, ...]:
    """Steps y = (u - mean) / sigma of points u, and the standard normal z that they were made of, each (lam, d).

    Those of the samples, which are `state.known`, are known better than any point remembers, whose digits end at the size of
    the mean. For points that were moved, equations are solved, in a branch that is taken only where there is one.

    Args:
        state: with a mean (d,) and a step size sigma ().
        u: (lam, d).
        deviations: (d,) of the steps.
        solve: z from any steps (lam, d).
    """
    y = in_deviations(u, state.mean, state.sigma)

    def solved() -> tuple[jax.Array, ...]:
        z = solve(y)
        return within_reach(z, y, z)

    if state.known is None:
        return solved()
    known = state.known
    places = jnp.abs(u) + (jnp.abs(state.mean) + state.sigma * deviations)[None, :]
    moved = jnp.abs(y - known[0]) * state.sigma > 32 * jnp.finfo(u.dtype).eps * places
    moved = jnp.any(moved, axis=1, keepdims=True)
    return lax.cond(any_lane(moved.any()), lambda: where(moved, solved(), known), lambda: known)


def in_sight(u: jax.Array, mean: jax.Array, deviations: jax.Array) -> jax.Array:
    """Points u (lam, d), none of them farther from a mean (d,) than `FARTHEST` deviations (d,): squares do not overflow."""
    reach = FARTHEST * deviations
    return jnp.clip(u, (mean - reach)[None, :], (mean + reach)[None, :])


def in_deviations(u: jax.Array, mean: jax.Array, deviations: jax.Array) -> jax.Array:
    """(lam, d) how many deviations, () or (1, d), points u (lam, d) are away from a mean (d,), up to `FARTHEST`."""
    return jnp.clip((u - mean[None, :]) / deviations, -FARTHEST, FARTHEST)


def within_reach(z: jax.Array, *vectors: jax.Array) -> tuple[jax.Array, ...]:
    """Vectors (..., d) that belong to z (..., d), shortened by as much as `reach` shortens z; zero where z is not finite."""
    factor = reach(z)
    return tuple(jnp.where(factor > 0, factor * vector, 0) for vector in vectors)


def reach(z: jax.Array) -> jax.Array:
    """Factors (..., 1) that shorten z (..., d) to what a standard normal vector may be; 1 for every vector that was sampled.

    A candidate that was moved after `ask` may lie many deviations away, and would swamp all that was learnt. Source: N. Hansen,
    Injecting external solutions into CMA-ES (2011), arXiv 1110.4181, whose bound is tighter and would bend samples too.
    """
    return within(lengths(z), z.shape[-1])[..., None]


def within(length: jax.Array, d: int) -> jax.Array:
    """The factors of `reach`, from the lengths (...,) of the standard normal vectors."""
    longest = d**0.5 + 6
    return jnp.where(jnp.isfinite(length), longest / jnp.maximum(length, longest), 0)


def fitted_deviations(steps: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What `Gaussian._fitted` is to have: () a scale and (d,) the standard deviations of steps (n, d) over it, of product 1."""
    deviations = jnp.sqrt(jnp.square(width) + jnp.mean(jnp.square(steps), axis=0))
    scale = jnp.exp(jnp.mean(jnp.log(deviations)))
    return scale, deviations / scale


def fitted_root(steps: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same as a matrix: () a scale and (d, d) the triangular root of the covariance matrix over it, of determinant 1."""
    n, d = steps.shape
    covariance = mul(steps.T, steps) / n
    least = 4 * d * jnp.finfo(steps.dtype).eps * diagonal(covariance).max()  # with less, rounding may leave no root
    root = cholesky(covariance + jnp.maximum(jnp.square(width), least) * jnp.eye(d, dtype=steps.dtype))
    scale = jnp.exp(jnp.mean(jnp.log(diagonal(root))))
    return scale, root / scale


def condition(root: jax.Array, whiten: jax.Array) -> jax.Array:
    """() the condition number of a covariance matrix, or down to 1 / d**2 of it: by Frobenius norms instead of axes.

    Of any root A of it, A A^T, and the inverse of A, each (d, d).
    """
    return jnp.sum(jnp.square(root)) * jnp.sum(jnp.square(whiten)) / root.shape[0] ** 2


def shortest_axis(whiten: jax.Array) -> jax.Array:
    """(d,) about a standard deviation along the shortest principal axis, from the inverse (d, d) of a root of the matrix.

    Its rows w add up to the covariance matrix's inverse, a sum of w w^T, in which the longest of them dominates if an axis is
    much shorter than all others.
    """
    squared = jnp.sum(jnp.square(whiten), axis=1)
    longest = jnp.argmax(squared)
    return whiten[longest] / squared[longest]
