"""DE, jDE and SHADE: differential evolution, told or learning how to weigh and cross over.

Every individual of a population is challenged by a trial, which takes its place if it is no worse. A mutant adds the weighted
difference of two individuals to a base vector; the trial has some of its coordinates, the others are the individual's own. The
differences shrink and turn as the population does, so that no step size has to be learnt. O(lam d) a generation; invariant to
translation, to the scaling of each axis and, but for SHADE, to monotone transforms of f; to rotation only where all coordinates
are the mutant's.

F is the weight of differences and CR the crossover rate. DE is told both; for JDE they are genes of every individual; SHADE
remembers which of them led to improvements, moves towards one of the best individuals, and takes differences also from an
archive of those that were improved upon. Its memory weighs by how much fitness improved: affine transforms of f do not matter.

References: R. Storn & K. Price, Differential Evolution: a simple and efficient heuristic for global optimization over
continuous spaces, Journal of Global Optimization 11 (1997), 341-359. J. Brest, S. Greiner, B. Boskovic, M. Mernik & V. Zumer,
Self-adapting control parameters in differential evolution, IEEE Transactions on Evolutionary Computation 10 (2006), 646-657.
R. Tanabe & A. Fukunaga, Success-history based parameter adaptation for differential evolution, CEC 2013, 71-78; where it leaves
details open, as in the authors' program, SHADE 1.0.1. Departures: what happens at the bounds, see `Differential`; the default
of SHADE's H.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxes import random
from jaxes.bounds import Bounds, Reflect, normal
from jaxes.checks import as_number, check_choice, check_integer, check_value
from jaxes.operators.selection import truncation
from jaxes.pytree import assign, pytree, static
from jaxes.settings import check_beginning, check_bounds, initial_deviations, point, population, positive
from jaxes.space import Space, as_space
from jaxes.strategy import Purpose, Sized, State, StopReason, first_reason, found, negligible, stream

MUTATIONS = {"rand/1": 3, "best/1": 2, "current-to-best/1": 2}
"""How many distinct others a mutant is made from."""
REFLECT = Reflect()


@pytree
class DEState(State):
    """What every differential evolution remembers."""

    parents: jax.Array  # (lam, d) the individuals; before the first generation, those that it evaluates
    parent_fitness: jax.Array  # (lam,) infinite before the first generation
    flat: jax.Array  # () int32, for how many generations no difference between them counted
    told: Any  # () int32 evaluations, up to what 31 bits hold, where lam is a value; else None


@dataclasses.dataclass(frozen=True, eq=False)
class Differential(Sized):
    """What DE, JDE and SHADE share; they implement `_begin`, `_rates`, `_mutants` and `_learn`.

    Args:
        space: a `Box` or a pytree of them.
        lam: individuals, and candidates a generation; at least 4. Default 5 d, and 10 d for DE, which loses its diversity more
            easily: the ends of what Storn & Price advise. But 20 at least, and at most 100, which Brest et al. and Tanabe &
            Fukunaga use in 30-D. On the BBOB functions in 5-D and 10-D, jDE and SHADE with 10 d reach at most .04 more of all
            targets than with 5 d by 5,000 d evaluations, and a third fewer by 1,000 d.
        start: a solution; the first generation is itself and points around it. Default: uniform in the box.
        spread: their standard deviation in the space's own units (the logarithm's on a log scale): a number, one per coordinate
            (d,), or a pytree like a solution. Default: 0.3 of the box's width.
        bounds: what becomes of a mutant's coordinates outside the box: `Reflect()`, `Resample()` (others are chosen, `attempts`
            times), `Smooth()`, `Clip()`, or `Wrap()` (differences go the short way round).
        lam_max: how many individuals there may be; given, lam is a value, and only the first lam of lam_max count.

    The numbers are leaves: they can be swept, batched and changed without a new program.

    The papers leave bounds open, or take the point halfway between the individual and the bound. On the 24 BBOB functions in
    5-D (30 runs each, 2,000 d evaluations), jDE with lam = 20 reaches .596 of all targets reflecting, .595 halfway, .586 with
    `Clip` and .613 with `Resample(attempts=16)`; DE with lam = 50 .580, .577, .577 and .585, little more than chance.
    Reflection is the default because, unlike choosing anew until the last run of a batch has a mutant inside, it costs nothing.
    """

    PER_COORDINATE: ClassVar[int] = 5
    """Individuals by default."""

    space: Space
    _: KW_ONLY
    lam: Any = static(default=None, unless="lam_max")  # noqa: RUF009
    lam_max: int | None = static(default=None)
    start: Any = None
    spread: Any = None
    bounds: Bounds = REFLECT

    def __post_init__(self):
        owner, space = type(self).__name__, as_space(self.space)
        lam = min(max(20, self.PER_COORDINATE * space.dimension), 100) if self.lam is None else self.lam
        lam, most = population(owner, lam, self.lam_max, 4)
        assign(self, space=space, lam=lam, lam_max=most)
        check_bounds(owner, self.bounds)
        assign(self, start=point(owner, space, "start", self.start), spread=positive(owner, space, "spread", self.spread))
        if self.spread is not None and self.start is None:
            raise ValueError(f"{owner}(spread=...) needs a start: {owner}(start=..., spread=...).")
        check_beginning(owner, space, start=self.start, spread=self.spread)

    def _begin(self, state: DEState) -> Any:
        """The initial state, made from the shared one."""
        return state

    @abc.abstractmethod
    def _rates(self, state: Any) -> tuple[jax.Array, jax.Array]:
        """F and CR (lam,) of this generation's trials."""

    @abc.abstractmethod
    def _mutants(self, state: Any, x: jax.Array, f: jax.Array, key: jax.Array) -> jax.Array:
        """(lam, d) mutants made of the individuals x (lam, d), with weights f (lam, 1)."""

    def _learn(self, state: Any, fitness: jax.Array) -> Any:
        """The state that has learnt from the trials' fitness (lam,), but for what is shared; the parents still are the old."""
        return state

    def enlarged(self, factor):
        return dataclasses.replace(self, lam=factor * self.lam)

    def warm_start(self, state: Any, solutions: Any, fitness: ArrayLike) -> Any:
        """The state before the first generation that begins with the best solutions of a task like this one.

        The first generation evaluates the fittest of them anew: the fitness of two tasks is not to be compared. Where they are
        fewer than the individuals, those that were drawn make up the rest.

        Args:
            state: of `init`.
            solutions: what was evaluated on the other task, each leaf with a leading axis n.
            fitness: (n,) smaller is better, NaN counts as worst.

        Returns:
            a state for `ask`, or for `run(state=...)`.

        Raises:
            ValueError: no solutions, solutions that are none of the space, or of another number than fitness values.
        """
        x, fitness = found(f"{type(self).__name__}.warm_start", self.space, solutions, fitness)
        best = x[truncation(fitness, min(len(x), self.population_size))[1]]
        return dataclasses.replace(state, parents=state.parents.at[: len(best)].set(best))

    def _spread(self, state: Any) -> jax.Array:
        """(population_size, d) from the first individual to all that count, and zeros."""
        away, mask = self._away(state.parents, state.parents[:1]), self._counted(state)
        return away if mask is None else jnp.where(mask[:, None], away, 0)

    def _sides(self) -> tuple[jax.Array, jax.Array]:
        lower, upper = self.space.bounds()
        return lower[None, :], upper[None, :]

    def _unit(self) -> jax.Array:
        """(d,) a length of the order of the initial standard deviation."""
        return initial_deviations(self.space, "spread", self.spread)

    def _away(self, points: jax.Array, origin: jax.Array) -> jax.Array:
        return self.bounds.away(points, origin, *self._sides())

    def _init(self, state):
        count = self.population_size
        u = random.uniform(stream(state, Purpose.SAMPLE), (count, self.space.dimension), self.space.dtype)
        if self.start is None:
            parents = self.space.between(*self._sides(), u)
        else:
            start = jnp.clip(self.space.encode(self.start)[None, :], *self._sides())
            parents = self.bounds.gaussian(u, start, self._unit()[None, :], *self._sides()).at[0].set(start[0])
        fitness, nothing = jnp.full(count, jnp.inf, parents.dtype), jnp.zeros((), jnp.int32)
        shared = {"parents": parents, "parent_fitness": fitness, "flat": nothing, "told": self._told_first()}
        return self._begin(DEState(**vars(state), **shared))

    def _ask(self, state):
        count, d, dtype = self.population_size, self.space.dimension, self.space.dtype
        always = random.uniform(stream(state, Purpose.MUTATE), (count,), dtype)
        always, f, cr = (numbers[:, None] for numbers in once(always, *self._rates(state)))
        u = random.stored(stream(state, Purpose.SAMPLE), (count, d), dtype)
        crossed = (u < cr) | (jnp.arange(d, dtype=jnp.int32)[None, :] == below(d, always))
        x, key = self.bounds.origin(state.parents, *self._sides()), stream(state, Purpose.RECOMBINE)

        def trials(attempt):
            mutants = self._mutants(state, x, f, random.fold_in(key, attempt))
            return jnp.where(crossed & jnp.isfinite(mutants), mutants, x), None  # differences overflow in a box without end

        repaired, _, _ = self.bounds.population(trials, *self._sides())
        return jnp.where(crossed & (state.generation > 0), repaired, state.parents), state

    def _tell(self, state, x, fitness):
        accepted = fitness <= state.parent_fitness  # infinity too by infinity, hence all at first
        told = self._learn(state, fitness)
        values = jnp.minimum(fitness, state.parent_fitness)
        flat = self.worst(state, values) - values.min() < negligible(1e-11, values.min())
        return dataclasses.replace(
            told,
            parents=jnp.where(accepted[:, None], x, state.parents),
            parent_fitness=values,
            flat=jnp.where(flat, state.flat + 1, 0),
            told=self._told_next(state),
        )

    def step_size(self, state):
        """(), the largest standard deviation of the individuals over coordinates."""
        away = self._spread(state)
        unit = jnp.maximum(jnp.abs(away).max(), jnp.finfo(away.dtype).tiny)  # squares of very large or small numbers are none
        return unit * self.diversity(state, away / unit)

    def columns(self, state):
        """Over what range individuals and their fitness lie, as in pagmo's differential evolutions."""
        span = self._spread(state)
        return {"dx": (span.max(axis=0) - span.min(axis=0)).max(), "df": self.fitness_range(state)}

    def fitness_range(self, state):
        return self.worst(state, state.parent_fitness) - state.parent_fitness.min()

    def stop_reason(self, state):
        """TOLX: the individuals differ by what rounding resolves, or by 1e-11 of their initial deviation. TOLFUN: their fitness
        differs by less than 1e-11, or by rounding, for as many generations as pycma waits for."""
        eps, mask = float(jnp.finfo(self.space.dtype).eps), self._counted(state)
        extent = jnp.abs(self._spread(state)).max(axis=0)
        largest = jnp.max(jnp.abs(state.parents), axis=0, initial=0, where=True if mask is None else mask[:, None])
        resolved = jnp.maximum(1e-11 * self._unit(), 4 * eps * largest)
        reasons = {
            StopReason.TOLFUN: state.flat >= 10 + -(-30 * self.space.dimension // self.lam),
            StopReason.TOLX: jnp.all(extent <= resolved),
        }
        return first_reason(state, reasons)


@pytree
class DE(Differential):
    """Differential evolution with constant F and CR (Storn & Price 1997), variant `mutation`/bin.

    Args:
        space, lam, start, spread, bounds: see `Differential`.
        mutation: "rand/1": a + F (b - c) for three others; "best/1": best + F (a - b); "current-to-best/1":
            x + F (best - x) + F (a - b), for the individual x. The best converge faster, and to local optima more often.
        weight: F; default 0.5, the paper's first choice.
        crossover_rate: CR, the probability that a coordinate is the mutant's; default 0.9, for coordinates that depend on each
            other. Where they do not, 0.1 is better.
    """

    PER_COORDINATE: ClassVar[int] = 10

    _: KW_ONLY
    mutation: Literal["rand/1", "best/1", "current-to-best/1"] = static(default="rand/1")
    weight: ArrayLike = 0.5
    crossover_rate: ArrayLike = 0.9

    def __post_init__(self):
        super().__post_init__()
        check_choice("DE", "mutation", self.mutation, MUTATIONS)
        for name in ("weight", "crossover_rate"):
            assign(self, **{name: as_number("DE", name, getattr(self, name), self.space.dtype)})
        check_value("DE", "weight", self.weight, lambda v: (v > 0) & (v <= 2), "above 0 and at most 2")
        check_value("DE", "crossover_rate", self.crossover_rate, lambda v: (v >= 0) & (v <= 1), "from 0 to 1")

    def _rates(self, state):
        count = self.population_size
        return jnp.full(count, self.weight), jnp.full(count, self.crossover_rate)

    def _mutants(self, state, x, f, key):
        u = random.uniform(key, (MUTATIONS[self.mutation], len(x)), x.dtype)
        *base, a, b = (rows(x, index) for index in once(*others(u, self.lam)))
        if self.mutation == "rand/1":
            return base[0] + f * self._away(a, b)
        best = x[jnp.argmin(state.parent_fitness)][None, :]
        if self.mutation == "best/1":
            return best + f * self._away(a, b)
        return x + f * self._away(best, x) + f * self._away(a, b)


FIRST_WEIGHT, FIRST_RATE = 0.5, 0.9
LEAST_WEIGHT, MORE_WEIGHT = 0.1, 0.9
"""F_l and F_u of jDE: a new F is uniform in [F_l, F_l + F_u)."""


@pytree
class JDEState(DEState):
    """What jDE remembers."""

    weights: jax.Array  # (lam,) F of every individual
    crossover_rates: jax.Array  # (lam,) its CR


@pytree
class JDE(Differential):
    """jDE, differential evolution rand/1/bin with F and CR as genes (Brest et al. 2006).

    A trial inherits both, or has new ones, uniform in [0.1, 1) and [0, 1); where it survives, so do they.

    Args:
        space, lam, start, spread, bounds: see `Differential`.
        renewal: the probability that F is new, and that CR is; default 0.1, the paper's tau_1 and tau_2.
    """

    _: KW_ONLY
    renewal: ArrayLike = 0.1

    def __post_init__(self):
        super().__post_init__()
        assign(self, renewal=as_number("JDE", "renewal", self.renewal, self.space.dtype))
        check_value("JDE", "renewal", self.renewal, lambda v: (v >= 0) & (v <= 1), "from 0 to 1")

    def _begin(self, state):
        first = (jnp.full(self.population_size, number, self.space.dtype) for number in (FIRST_WEIGHT, FIRST_RATE))
        return JDEState(**vars(state), **dict(zip(("weights", "crossover_rates"), first, strict=True)))

    def _rates(self, state):
        u = random.uniform(stream(state, Purpose.STEP_SIZE), (4, self.population_size), self.space.dtype)
        renewal = jnp.where(state.generation > 0, self.renewal, 0)
        f = jnp.where(u[1] < renewal, LEAST_WEIGHT + u[0] * MORE_WEIGHT, state.weights)
        return f, jnp.where(u[3] < renewal, u[2], state.crossover_rates)

    def _mutants(self, state, x, f, key):
        a, b, c = (rows(x, index) for index in once(*others(random.uniform(key, (3, len(x)), x.dtype), self.lam)))
        return a + f * self._away(b, c)

    def _learn(self, state, fitness):
        f, cr = self._rates(state)
        survives = fitness <= state.parent_fitness
        return dataclasses.replace(
            state,
            weights=jnp.where(survives, f, state.weights),
            crossover_rates=jnp.where(survives, cr, state.crossover_rates),
        )


P_MAX = 0.2
"""A mutant of SHADE moves towards one of at most this share of best individuals, and of at least two."""
SCALE = 0.1
"""Of the distributions of F and CR around what is remembered."""


@pytree
class SHADEState(DEState):
    """What SHADE remembers."""

    memory_weight: jax.Array  # (H,) M_F
    memory_rate: jax.Array  # (H,) M_CR
    slot: jax.Array  # () int32, k, which of them is written next
    archive: jax.Array  # (archive, d) individuals that were improved upon, in the first
    archived: jax.Array  # () int32 rows


@pytree
class SHADE(Differential):
    """Success-history based adaptive differential evolution (Tanabe & Fukunaga 2013), current-to-pbest/1/bin with archive.

    Args:
        space, lam, start, spread, bounds: see `Differential`.
        memory: H, of how many generations with an improvement the means of F and CR are remembered. Default 6, as in the
            authors' L-SHADE (CEC 2014): with the 100 of the paper and lam = 100, .64 of the BBOB targets in 10-D are reached by
            5,000 d evaluations, and with 6 .74; with lam = 50 in 5-D, it hardly matters.
        archive: how many individuals that were improved upon are remembered; default lam, as in the paper.
    """

    _: KW_ONLY
    memory: int = static(default=6)
    archive: Any = static(default=None)

    def __post_init__(self):
        super().__post_init__()
        assign(self, memory=check_integer("SHADE", "memory", self.memory, at_least=1))
        if self.archive is not None:
            assign(self, archive=check_integer("SHADE", "archive", self.archive, at_least=1))

    @property
    def room(self) -> int:
        """Rows of the archive."""
        return self.population_size if self.archive is None else self.archive

    def _begin(self, state):
        half, zero = jnp.full(self.memory, 0.5, self.space.dtype), jnp.zeros((), jnp.int32)
        archive = jnp.broadcast_to(state.best[None, :], (self.room, self.space.dimension))
        return SHADEState(**vars(state), memory_weight=half, memory_rate=half, slot=zero, archive=archive, archived=zero)

    def _uniform(self, state: SHADEState) -> jax.Array:
        return random.uniform(stream(state, Purpose.STEP_SIZE), (4, self.population_size), self.space.dtype)

    def _rates(self, state):
        u = self._uniform(state)
        r = below(self.memory, u[0])
        cr = jnp.clip(state.memory_rate[r] + SCALE * normal(u[1]), 0, 1)
        # A Cauchy number that is drawn again while it is not positive is one above 0: by inversion, from the end.
        center = state.memory_weight[r]
        angle = math.pi / 2 - u[2] * (math.pi / 2 + jnp.arctan(center / SCALE))
        f = center + SCALE * jnp.tan(jnp.minimum(angle, 1.5))  # above 1 from 1.48 on, and tan(pi / 2) might be negative
        return jnp.clip(f, float(jnp.finfo(f.dtype).eps), 1), cr

    def _mutants(self, state, x, f, key):
        u, number = random.uniform(key, (4, len(x)), x.dtype), self._number(x.dtype)
        _, best = truncation(state.parent_fitness, max(2, round(P_MAX * len(x))))
        p = 2 / number + u[0] * jnp.maximum(P_MAX - 2 / number, 0)
        best = best[below(jnp.maximum(jnp.round(p * number), 2).astype(jnp.int32), u[1])]
        first, second = others(u[2:], self.lam, state.archived)
        best, first, second, old = once(best, first, jnp.minimum(second, self.lam - 1), jnp.maximum(second - self.lam, -1))
        second = jnp.where(old[:, None] < 0, rows(x, second), rows(self._archive(state), jnp.maximum(old, 0)))
        return x + f * self._away(rows(x, best), x) + f * self._away(rows(x, first), second)

    def _archive(self, state: SHADEState) -> jax.Array:
        return self.bounds.origin(state.archive, *self._sides())

    def _learn(self, state, fitness):
        better = (fitness < state.parent_fitness) & (state.generation > 0)
        return dataclasses.replace(state, **self._remembered(state, better, fitness), **self._archived(state, better))

    def _remembered(self, state: SHADEState, better: jax.Array, fitness: jax.Array) -> dict[str, jax.Array]:
        """The memory, after one slot was written with the means of F and CR where a trial was better, if any was."""
        f, cr = self._rates(state)
        gain = jnp.where(better, state.parent_fitness - fitness, 0)
        most, some = gain.max(), better.any()
        # In units of the largest, lest their sum overflows; where one cannot divide by it, only those like it count.
        info = jnp.finfo(most.dtype)
        is_unit = (most >= info.tiny) & (most <= info.max / 8)
        w = jnp.where(is_unit, gain / jnp.where(is_unit, most, 1), (better & (gain >= most)).astype(gain.dtype))
        w = w / jnp.maximum(jnp.sum(w), 1)
        writes = some & (jnp.arange(self.memory, dtype=jnp.int32) == state.slot)
        lehmer = jnp.sum(w * f * f) / jnp.where(some, jnp.sum(w * f), 1)
        return {
            "memory_weight": jnp.where(writes, lehmer, state.memory_weight),
            "memory_rate": jnp.where(writes, jnp.sum(w * cr), state.memory_rate),
            "slot": (state.slot + some.astype(jnp.int32)) % self.memory,
        }

    def _archived(self, state: SHADEState, better: jax.Array) -> dict[str, jax.Array]:
        """The archive, to which parents that were improved upon were added, one after the other: at its end, or, once it is
        full, in random places."""
        room, index = self.room, jnp.arange(better.shape[0], dtype=jnp.int32)
        size = self.lam if self.archive is None else room
        place = state.archived + jnp.cumsum(better, dtype=jnp.int32) - 1
        place = jnp.where(place < size, place, below(size, self._uniform(state)[3]))
        last = jnp.full(room, -1, jnp.int32).at[jnp.where(better, place, room)].max(index, mode="drop")
        added = jnp.where(last[:, None] >= 0, rows(state.parents, jnp.maximum(last, 0)), state.archive)
        return {"archive": added, "archived": jnp.minimum(state.archived + jnp.sum(better, dtype=jnp.int32), size)}


def below(count: Any, u: jax.Array) -> jax.Array:
    """int32 indices below `count`, from uniform u; its grid of 2**-23 in float32 makes some likelier, by 1e-7 count."""
    count = jnp.asarray(count, jnp.int32)
    return jnp.minimum((u * count.astype(u.dtype)).astype(jnp.int32), count - 1)


def others(u: jax.Array, lam: Any, more: Any = 0) -> list[jax.Array]:
    """For each of lam individuals, k others, from uniform u (k, rows): uniform among those not yet chosen, indices (rows,), of
    which the first lam count.

    The last may also be one of `more`, whose indices begin at lam. Both are ints, or arrays ().
    """
    own = jnp.arange(u.shape[1], dtype=jnp.int32)
    chosen: list[jax.Array] = []
    taken: list[jax.Array] = []  # steps from the individual onwards, ascending
    for i in range(len(u)):
        step = 1 + below(lam - 1 - i + (more if i == len(u) - 1 else 0), u[i])
        for other in taken:
            step = step + (step >= other).astype(jnp.int32)
        ahead = own + step
        chosen.append(jnp.where(step >= lam, step, jnp.where(ahead >= lam, ahead - lam, ahead)))
        for j, other in enumerate(taken):
            taken[j], step = jnp.minimum(other, step), jnp.maximum(other, step)
        taken.append(step)
    return chosen


def rows(x: jax.Array, index: jax.Array) -> jax.Array:
    return x.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def once(*numbers: jax.Array) -> Sequence[jax.Array]:
    """The same numbers, (lam,) each, computed once: fused into a loop over all coordinates, XLA would compute them, and hash
    the random bits that they are made from, for each of these."""
    return tuple(lax.optimization_barrier(jnp.stack(numbers)))
