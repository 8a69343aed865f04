"""The three calls that every strategy answers, and the state that every strategy shares.

    state             = strategy.init(key)
    population, state = strategy.ask(state)                   # candidates, all inside the space
    state             = strategy.tell(state, population, fitness)

A strategy is a value: a frozen dataclass whose hyperparameters are leaves. The three calls are pure functions of it and
of its state, jitted, without a batch axis: use `jax.vmap`. Everything at the border happens here (the user's pytrees,
NaN, the best so far), so that a strategy's own file holds only what its paper holds.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes import random
from jaxes.branch import where_due
from jaxes.checks import as_key, describe, is_traced
from jaxes.program import Program
from jaxes.pytree import pytree
from jaxes.settings import points
from jaxes.space import Space

S = TypeVar("S", bound="State")

LIMIT = np.iinfo(np.int32).max
"""What generations and evaluations are counted up to."""


@pytree
class State:
    """What every strategy remembers: with the strategy itself, everything needed to go on.

    Fitness is minimised here, also where the user maximises.
    """

    key: jax.Array  # (), never changes: the randomness of a generation is drawn from `stream(state, purpose)`
    generation: jax.Array  # () int32, how many generations were told
    best: jax.Array  # (d,) the best candidate so far, flat; before the first generation, a point of the box
    best_fitness: jax.Array  # () infinity as long as no fitness was less
    best_generation: jax.Array  # () int32, the generation that found it
    invalid: jax.Array  # () int32, how many fitness values were NaN


class StopReason(enum.IntEnum):
    """Why a run ended; `.message` says it in words. Several at once: the first of this list."""

    RUNNING = 0
    TARGET = 1
    STAGNATION = 2
    SPREAD = 3
    DIVERSITY = 4
    STEP_SIZE = 5
    EVALUATIONS = 6
    GENERATIONS = 7
    INTERRUPTED = 8
    # What a strategy finds itself:
    TOLFUN = 9
    TOLFUNHIST = 10
    EQUALFUNVALS = 11
    TOLX = 12
    TOLFACUPX = 13
    CONDITIONCOV = 14
    NOEFFECTAXIS = 15
    NOEFFECTCOORD = 16
    STAGNANT = 17
    NONFINITE = 18
    TOLXSTAGNATION = 19
    NOTSEPARABLE = 20
    WORSE = 21
    MOST = 23
    # From outside:
    TIME = 22

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    StopReason.RUNNING: "still running",
    StopReason.TARGET: "reached the target fitness",
    StopReason.STAGNATION: "no better solution for as many generations as `stagnation` allows",
    StopReason.SPREAD: "the fitness of the population spread less than `spread`",
    StopReason.DIVERSITY: "the population was closer together than `diversity`",
    StopReason.STEP_SIZE: "the step size fell below `step_size`",
    StopReason.EVALUATIONS: "the next generation would exceed the budget of evaluations",
    StopReason.GENERATIONS: "all generations were run",
    StopReason.INTERRUPTED: "interrupted",
    StopReason.TOLFUN: "fitness changes less than what counts, within and between generations",
    StopReason.TOLFUNHIST: "the best fitness changes less than what counts between generations",
    StopReason.EQUALFUNVALS: "the best fitness of many generations is the same",
    StopReason.TOLX: "the step size is too small to matter",
    StopReason.TOLFACUPX: "the step size grew a thousandfold: the initial sigma was far too small, or nothing is downhill",
    StopReason.CONDITIONCOV: "the covariance matrix is too ill-conditioned for the dtype",
    StopReason.NOEFFECTAXIS: "a step along a principal axis no longer changes the mean",
    StopReason.NOEFFECTCOORD: "a step in some coordinate no longer changes the mean",
    StopReason.STAGNANT: "neither the best nor the typical candidate of a generation got better over a long time",
    StopReason.NONFINITE: "no fitness of many generations was a finite number",
    StopReason.TOLXSTAGNATION: "the mean stayed where it was over a tenth of the run",
    StopReason.NOTSEPARABLE: "the objective is not a sum of functions of one coordinate each",
    StopReason.WORSE: "it was converging to something worse than what was already found",
    StopReason.MOST: "it took all the generations that one of several runs may",
    StopReason.TIME: "the limit in seconds was reached",
}


class Purpose(enum.IntEnum):
    """What a generation draws random numbers for. No two draws share a key."""

    SAMPLE = 0
    RECOMBINE = 1
    STEP_SIZE = 2
    MUTATE = 3
    OBJECTIVE = 4
    RESTART = 5
    MIGRATE = 6


def stream(state: State, purpose: Purpose) -> jax.Array:
    """The key of one purpose in this generation."""
    return random.fold_in(state.key, state.generation, purpose)


def clean(fitness: jax.Array) -> jax.Array:
    """Fitness in which NaN is as bad as infinity, so that it can be ordered."""
    return jnp.where(jnp.isnan(fitness), jnp.inf, fitness)


def found(owner: str, space: Space, solutions: Any, fitness: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Flat solutions (n, d), each leaf of which has a leading axis n, and their fitness (n,), without NaN."""
    x, told = jax.vmap(space.encode)(points(owner, space, "solutions", solutions)), clean(jnp.asarray(fitness, space.dtype))
    if not len(x):
        raise ValueError(f"{owner}(solutions=...) must be at least one, got none.")
    if told.shape != (len(x),):
        raise ValueError(f"{owner}(fitness=...) must be ({len(x)},), one for each of the solutions, got {told.shape}.")
    return x, told


def negligible(least: float, fitness: jax.Array) -> jax.Array:
    """() the difference of fitness values that does not count: `least`, but not less than what rounding resolves."""
    eps = float(jnp.finfo(fitness.dtype).eps)
    return jnp.maximum(least, eps * jnp.abs(jnp.where(jnp.isfinite(fitness), fitness, 0)))


def first_reason(state: State, reasons: dict[StopReason, jax.Array]) -> jax.Array:
    """() int32, the first of the reasons that holds, after a generation at least; else `RUNNING`."""
    found = jnp.int32(StopReason.RUNNING)
    for reason, holds in reversed(reasons.items()):
        found = jnp.where(holds & (state.generation > 0), jnp.int32(reason), found)
    return found


class Strategy(abc.ABC):
    """An algorithm with its hyperparameters. A new one is a `@jaxes.pytree.pytree` class that has:

        space                  the `Box` or other space, a field; flat candidates have `space.dimension` coordinates
        population_size        how many candidates a generation has
        _init(state)           its own initial state, a `@pytree` class derived from `State`, from the shared one; its key draws
                               by `jaxes.strategy.stream(state, Purpose.SAMPLE)`
        _ask(state)            flat candidates (population_size, d) inside `space.bounds()`, and the state
        _tell(state, x, fitness)   the state that has learnt; of the same shapes and dtypes
        step_size(state)       () the largest standard deviation of what comes next

    `minimize`, `run`, `sweep`, `Restart`, `Islands` and all else then take it; examples/strategy.py is one.
    """

    space: Space

    @property
    @abc.abstractmethod
    def population_size(self) -> int:
        """How many candidates `ask` hands out; the leading axis of `population` and `fitness`."""

    @property
    def evaluations(self) -> Any:
        """() how many of the candidates count, the first ones. The others, where the population size is a value, only make up
        the shape; what is told of them is ignored. Of the first generation, where the number changes over a run."""
        return self.population_size

    def due(self, state: Any) -> Any:
        """() how many of the next generation's candidates count."""
        return self.evaluations

    def spent(self, state: Any) -> jax.Array:
        """() int32, how many evaluations were told, up to what 31 bits hold."""
        return jnp.minimum(state.generation, LIMIT // self.evaluations) * self.evaluations

    @property
    def stages(self) -> tuple[Strategy, ...]:
        """The strategies that share this one's state and take turns, each with a population of its own shape. Only one, unless
        the population grows or the algorithm changes over a run."""
        return (self,)

    def stage(self, state: Any) -> jax.Array:
        """() int32, whose turn it is."""
        return jnp.zeros((), jnp.int32)

    def pending(self, state: Any) -> jax.Array | None:
        """() whether `prepared` is to be called before the next generation; None if it never is."""
        return None

    def prepared(self, state: Any) -> Any:
        """What is too rare to be a part of every generation, done: the state before the next one."""
        return state

    def current(self, state: Any) -> Strategy:
        """The strategy whose turn it is, to ask and tell by hand: its populations are no larger than they need to be.

        Outside of a trace only. For a strategy of one stage, the strategy itself.
        """
        stages = self.stages
        return stages[0] if len(stages) == 1 else stages[int(self.stage(state))]

    def enlarged(self, factor: int) -> Strategy:
        """The same strategy with a population so many times as large. ValueError if it cannot be changed."""
        raise ValueError(f"{type(self).__name__} has no population size that could be changed.")

    def rescaled(self, factor: jax.Array) -> Strategy:
        """The same strategy with its initial step size times a factor (). ValueError if it cannot be changed."""
        raise ValueError(f"{type(self).__name__} has no initial step size that could be changed.")

    def started(self, start: Any) -> Strategy:
        """The same strategy with another start, a solution, if it was given one; else itself.

        Raises:
            ValueError: it begins every run at the same points.
        """
        return self if getattr(self, "start", None) is None else dataclasses.replace(cast(Any, self), start=start)

    def inject(self, state: Any, population: Any, solutions: Any) -> Any:
        """The population with solutions from outside in the place of its last candidates, to be evaluated and told like them.

        A strategy that learns a distribution learns from them as from samples; those more standard deviations away than any
        sample is count as nearer ones in their direction (in each coordinate, where a gradient is estimated), but for the best
        solution so far. `CEM` and `IAMaLGaM`, whose Gaussian is that of the fittest, take them for what they are.

        Args:
            state: what `ask` returned.
            population: what `ask` returned.
            solutions: k of them inside the space, each leaf with a leading axis k.

        Raises:
            ValueError: more solutions than there are candidates, or none of the space.

        Source: N. Hansen, Injecting external solutions into CMA-ES (2011), arXiv 1110.4181.
        """
        name = f"{type(self).__name__}.inject"
        solutions = points(name, self.space, "solutions", solutions)
        count = len(jax.tree.leaves(solutions)[0])
        due = self.due(state)
        most = self.population_size if is_traced(due) else int(due)
        if count > most:
            raise ValueError(f"{name}(solutions=...) must be at most {most}, the candidates of a generation, got {count}.")
        at = due - count + jnp.arange(count, dtype=jnp.int32)
        return jax.tree.map(lambda all_of_them, new: all_of_them.at[at].set(new), population, solutions)

    def _counted(self, state: Any) -> jax.Array | None:
        """(population_size,) whether a candidate counts; None if all do."""
        due = self.due(state)
        return None if isinstance(due, int) else jnp.arange(self.population_size, dtype=jnp.int32) < due

    def counted(self, state: Any, fitness: jax.Array) -> jax.Array:
        """Fitness (population_size,) that is infinite where a candidate does not count."""
        mask = self._counted(state)
        return fitness if mask is None else jnp.where(mask, fitness, jnp.inf)

    def worst(self, state: Any, fitness: jax.Array) -> jax.Array:
        """() the largest of those that count."""
        mask = self._counted(state)
        return jnp.max(fitness) if mask is None else jnp.max(fitness, initial=-jnp.inf, where=mask)

    def average(self, state: Any, fitness: jax.Array) -> jax.Array:
        """() the mean of those that count."""
        return jnp.mean(fitness, where=self._counted(state))

    def diversity(self, state: Any, x: jax.Array) -> jax.Array:
        """() the largest standard deviation of a coordinate over candidates (n, d), of those that count."""
        mask = self._counted(state)
        return jnp.std(x, axis=0, where=None if mask is None else mask[:, None]).max()

    @abc.abstractmethod
    def _init(self, state: State) -> State:
        """The algorithm's own initial state, made from the shared one."""

    @abc.abstractmethod
    def _ask(self, state: Any) -> tuple[jax.Array, Any]:
        """Candidates (population_size, d), inside the bounds, and the state that `_tell` will be given."""

    @abc.abstractmethod
    def _tell(self, state: Any, x: jax.Array, fitness: jax.Array) -> Any:
        """Learns from candidates (population_size, d) and their fitness (population_size,), which holds no NaN.
        `state.generation` still is the generation that is told."""

    @abc.abstractmethod
    def step_size(self, state: Any) -> jax.Array:
        """(), the largest standard deviation, over coordinates, of what the strategy would sample next."""

    def columns(self, state: Any) -> dict[str, jax.Array]:
        """Name -> (), what a line of a log tells of a state, besides generations, evaluations and the best fitness."""
        return {"sigma": self.step_size(state)}

    def fitness_range(self, state: Any) -> jax.Array:
        """() over what range the fitness of the last generations lies; infinite if not known."""
        return jnp.full_like(state.best_fitness, jnp.inf)

    def stop_reason(self, state: Any) -> jax.Array:
        """() int32 `StopReason`: whether the strategy itself sees no point in going on."""
        return jnp.int32(StopReason.RUNNING)

    def init(self, key: ArrayLike) -> Any:
        """The state before the first generation. `key`: of `jax.random.key`, or an integer seed."""
        return _init(self, as_key(f"{type(self).__name__}.init", key))

    def ask(self, state: S) -> tuple[Any, S]:
        """The next population: the user's pytree with a leading axis of `population_size` on every leaf.

        Asking twice gives the same population: randomness follows from the state.
        """
        return _ask(self, state)

    def tell(self, state: S, population: Any, fitness: ArrayLike) -> S:
        """The state that has learnt from the population's fitness.

        Args:
            state: what `ask` returned.
            population: what `ask` returned, or what was made of it inside the space (repaired, improved).
            fitness: (population_size,) floats, smaller is better; anything `jnp.asarray` takes. NaN counts as worst.

        Raises:
            ValueError, TypeError: a wrong shape or structure, or fitness that is not floating.
        """
        name = f"{type(self).__name__}.tell"
        fitness = jnp.asarray(fitness)
        if fitness.shape != (self.population_size,):
            raise ValueError(
                f"{name} expected `fitness` of shape ({self.population_size},) = (population_size,), got {fitness.shape}."
            )
        if not jnp.issubdtype(fitness.dtype, jnp.floating):
            raise TypeError(f"{name} expected floating `fitness`, got dtype {fitness.dtype}. Use .astype(float).")
        for leaf in jax.tree.leaves(population):
            if np.ndim(leaf) == 0 or np.shape(leaf)[0] != self.population_size:
                raise ValueError(
                    f"{name} expected a leading axis of {self.population_size} = population_size on every leaf of "
                    f"`population`, got shapes {describe(population)}."
                )
        return _tell(self, state, population, fitness)

    def best(self, state: State) -> Any:
        """The best solution so far, as the user's pytree. Its fitness is `state.best_fitness`."""
        return self.space.decode(state.best)

    def tell_flat(self, state: S, x: jax.Array, fitness: jax.Array) -> S:
        """`tell` for flat candidates (population_size, d), as the compiled loop has them."""
        fitness = self.counted(state, fitness.astype(x.dtype))
        invalid = jnp.isnan(fitness)
        fitness = clean(fitness)
        winner = jnp.argmin(fitness)
        better = (jnp.min(fitness) < state.best_fitness) | (state.generation == 0)
        told = self._tell(state, x, fitness)
        return dataclasses.replace(
            told,
            generation=state.generation + 1,
            best=jnp.where(better, x[winner], state.best),
            best_fitness=jnp.where(better, jnp.min(fitness), state.best_fitness),
            best_generation=jnp.where(better, state.generation, state.best_generation),
            invalid=state.invalid + jnp.sum(invalid, dtype=jnp.int32),
        )


def check_asked(strategy: Strategy, x: jax.Array) -> None:
    """Refuses, when it is traced, candidates of another shape than was said."""
    owner, expected = type(strategy).__name__, (strategy.population_size, strategy.space.dimension)
    if x.shape != expected or x.dtype != strategy.space.dtype:
        must = f"{owner}._ask must return candidates of shape {expected} = (population_size, d)"
        raise ValueError(f"{must} and dtype {strategy.space.dtype}, got {x.shape} and {x.dtype}.")


def check_told(strategy: Strategy, state: Any, told: Any) -> None:
    """Refuses, when it is traced, a state that is not like the one before, with which no loop could go on."""
    owner, like, given = type(strategy).__name__, *map(jax.tree.structure, (state, told))
    if str(like) != str(given):
        raise ValueError(f"{owner}._tell must return a state like the one of _init, of structure {like}, got {given}.")
    for (path, old), new in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(told), strict=True):
        if (jnp.shape(old), jnp.result_type(old)) != (jnp.shape(new), jnp.result_type(new)):
            place, was, now = jax.tree_util.keystr(path), jax.typeof(old), jax.typeof(new)
            raise ValueError(f"{owner}._tell must not change what state{place} is: it was {was} and became {now}.")


class Sized(Strategy):
    """A strategy whose population size is its field `lam`: an int, or a leaf of at most `lam_max`, another field.

    Its states have a field `told`, which `_told_first` and `_told_next` fill in.
    """

    lam: Any
    lam_max: int | None

    @property
    def population_size(self) -> int:
        return self.lam if self.lam_max is None else self.lam_max

    @property
    def evaluations(self) -> Any:
        return self.lam

    def spent(self, state):
        return super().spent(state) if state.told is None else state.told

    def _told_first(self) -> Any:
        """() int32, how many evaluations were told, where lam is a value; else None: it follows from the generation."""
        return None if self.lam_max is None else jnp.zeros((), jnp.int32)

    def _told_next(self, state: Any) -> Any:
        """The same a generation later, up to what 31 bits hold."""
        return None if state.told is None else jnp.minimum(state.told, LIMIT - self.evaluations) + self.evaluations

    def _number(self, dtype: Any) -> Any:
        """lam to calculate with: an int, or () of a dtype where it is a value."""
        return self.lam if self.lam_max is None else jnp.asarray(self.lam, dtype)


class Around(Strategy):
    """A strategy around another, its field `strategy`, in whose space it searches."""

    strategy: Any

    @property
    def space(self) -> Space:  # type: ignore[override] # a field elsewhere; here it follows from another
        return self.strategy.space

    @property
    def start(self) -> Any:
        """What the strategy was given, if anything."""
        return getattr(self.strategy, "start", None)

    def started(self, start):
        return self._around(self.strategy.started(start))

    def enlarged(self, factor):
        return self._around(self.strategy.enlarged(factor))

    def rescaled(self, factor):
        return self._around(self.strategy.rescaled(factor))

    def _around(self, strategy: Strategy) -> Any:
        return dataclasses.replace(cast(Any, self), strategy=strategy)


@Program
def _init(strategy: Strategy, key: jax.Array) -> Any:
    zero = jnp.zeros((), jnp.int32)
    dtype = strategy.space.dtype
    inside = jnp.clip(jnp.zeros(strategy.space.dimension, dtype), *strategy.space.bounds())
    return strategy._init(State(key, zero, inside, jnp.asarray(jnp.inf, dtype), zero, zero))


@Program
def _ask(strategy: Strategy, state: Any) -> tuple[Any, Any]:
    x, state = strategy._ask(state)
    return jax.vmap(strategy.space.decode)(x), state


@Program
def _tell(strategy: Strategy, state: Any, population: Any, fitness: jax.Array) -> Any:
    told = strategy.tell_flat(state, jax.vmap(strategy.space.encode)(population), fitness)
    return prepared(strategy, told)


def prepared(strategy: Strategy, state: S) -> S:
    """The state before the next generation."""
    pending = strategy.pending(state)
    return state if pending is None else where_due(pending, strategy.prepared, state)
