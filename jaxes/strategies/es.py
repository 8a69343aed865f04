"""The evolution strategies (mu/rho, lam)-ES and (mu/rho + lam)-ES.

mu parents make lam children by recombining rho of them and adding Gaussian noise; the mu best of the children (comma),
or of children and parents (plus), are the next parents.

References: Rechenberg (1973), Evolutionsstrategie. Schwefel (1995), Evolution and Optimum Seeking. Beyer & Schwefel
(2002), Evolution strategies: a comprehensive introduction, Natural Computing 1, 3-52. Departures: the first generation is
lam points of the box rather than mu parents, so that every generation evaluates alike; with rho = 1 every parent has
lam/mu children, where the text draws one parent per child at random.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes import random
from jaxes.bounds import Bounds, Resample
from jaxes.checks import as_leaf, check_choice, check_integer, check_value, describe, is_traced
from jaxes.operators.matrix import mul
from jaxes.operators.recombination import (
    choose_parents,
    discrete,
    equal_weights,
    membership,
    rank_weights,
    spread_weights,
)
from jaxes.operators.sampling import check_sampling, uniform_vectors
from jaxes.operators.selection import truncation
from jaxes.operators.step_size import Constant, as_step_size
from jaxes.pytree import assign, pytree, static
from jaxes.settings import has_finite_sides, numbers, per_coordinate, point, points, population, positive
from jaxes.space import Space, as_space
from jaxes.strategy import Purpose, Sized, State, stream

RECOMBINATIONS = ("none", "intermediate", "weighted", "discrete")


@pytree
class ESState(State):
    """What the ES learnt."""

    parents: jax.Array  # (mu, d), best first
    parent_fitness: jax.Array  # (mu,)
    memory: Any  # the step-size rule's
    told: Any  # () int32 evaluations, up to what 31 bits hold, where lam is a value; else None


@pytree
class ES(Sized):
    """The (mu/rho, lam)- or (mu/rho + lam)-ES.

    Args:
        space: a `Box` or a pytree of them.
        mu: number of parents; default 15.
        lam: number of children, at least mu; a multiple of mu without recombination. Default 105: self-adaptation wants
            about seven children per parent (Schwefel 1995).
        lam_max: how many children there may be; given, lam is a value, and only the first lam of lam_max count. Without
            recombination, the parent of child i is i % mu then.
        sigma: standard deviation of mutations, in the space's own units (the logarithm's on a log scale): a number, one
            per coordinate (d,), a pytree like a solution, an `optax` schedule, or a rule: `Schedule`, `OneFifth`,
            `SelfAdaptation`. Default: `SelfAdaptation()` from 0.3 of the box.
        sampling: of mutations: "independent", "mirrored", "orthogonal" or "sobol": see `jaxes.operators.sampling`. Of the
            children of one point or, where each of them has a point of its own, of all.
        selection: "comma" (children only; forgets, so it can leave a local optimum) or "plus" (children and parents).
        recombination: "none" (child i is made from parent i // (lam/mu)), "intermediate" (the mean of rho parents),
            "weighted" (the mean with logarithmic weights by rank) or "discrete" (every coordinate from one of rho parents).
        rho: how many distinct parents are recombined; default all mu.
        mutation_rate: probability that a coordinate is mutated, a number or one per coordinate; default 1.
        bounds: `Resample()`, `Clip()`, `Reflect()` or `Wrap()`.
        seeds: solutions to begin with, a pytree like a solution with a leading axis of at most `population_size`.
        start: one solution around which to begin; it is evaluated too. Default: uniform in the box.
        spread: standard deviation around `start`, given like sigma; default: the initial sigma.
        reevaluate: with "plus", evaluate the parents again in every generation, for stochastic objectives. Then a
            population is lam children followed by mu parents (with lam_max, the parents come first).

    Numbers are leaves: they can be swept, batched and changed without a new program. mu, rho, the words and, without lam_max,
    lam are static.

    Raises:
        ValueError, TypeError: with the argument, its value and what it may be.
    """

    space: Space
    _: KW_ONLY
    mu: int = static(default=15)
    lam: Any = static(default=105, unless="lam_max")
    lam_max: int | None = static(default=None)
    sigma: Any = None
    sampling: str = static(default="independent")
    selection: Literal["comma", "plus"] = static(default="comma")
    recombination: Literal["none", "intermediate", "weighted", "discrete"] = static(default="none")
    rho: int | None = static(default=None)
    mutation_rate: ArrayLike | None = None
    bounds: Bounds = Resample()
    seeds: Any = None
    start: Any = None
    spread: Any = None
    reevaluate: bool = static(default=False)

    def __post_init__(self):
        space = as_space(self.space)
        mu = check_integer("ES", "mu", self.mu, 1)
        lam, most = population("ES", self.lam, self.lam_max, 1 if self.lam_max is None else mu)
        check_choice("ES", "selection", self.selection, ("comma", "plus"))
        check_choice("ES", "recombination", self.recombination, RECOMBINATIONS)
        check_sampling("ES", self.sampling, space.dimension)
        if most is None and mu > lam:
            raise ValueError(f"ES(mu=...) must be at most lam={lam}, got {mu}: parents are chosen among the children.")
        if self.recombination == "none" and most is not None:
            check_value("ES", "lam", lam, lambda v: v % mu == 0, f"a multiple of mu={mu} when each parent has lam/mu children")
        elif self.recombination == "none" and lam % mu:
            below, above = lam // mu * mu, (lam // mu + 1) * mu
            raise ValueError(
                f"ES(lam=...) must be a multiple of mu={mu} when each parent has lam/mu children, got {lam}. "
                f'Use lam={below} or {above}, or recombination="intermediate".'
            )
        if self.recombination == "none" and self.rho not in (None, 1):
            raise ValueError(f'ES(rho=...) needs a recombination, got rho={self.rho} with recombination="none".')
        if self.rho is not None and check_integer("ES", "rho", self.rho, 1) > mu:
            raise ValueError(f"ES(rho=...) must be at most mu={mu}, got {self.rho}.")
        if not isinstance(self.bounds, Bounds):
            raise TypeError(f"ES(bounds=...) must be Resample(), Clip(), Reflect() or Wrap(), got {self.bounds!r}.")
        if not isinstance(self.reevaluate, bool | np.bool_):
            raise TypeError(f"ES(reevaluate=...) must be True or False, got {self.reevaluate!r}.")
        if self.reevaluate and self.selection != "plus":
            raise ValueError('ES(reevaluate=True) needs selection="plus": comma selection keeps no parents.')

        assign(self, space=space, mu=mu, lam=lam, lam_max=most, reevaluate=bool(self.reevaluate))
        assign(self, sigma=self._stored_sigma(), mutation_rate=per_coordinate("ES", space, "mutation_rate", self.mutation_rate))
        check_value("ES", "mutation_rate", self.mutation_rate, lambda v: (v > 0) & (v <= 1), "above 0 and at most 1")
        assign(self, spread=positive("ES", space, "spread", self.spread), start=point("ES", space, "start", self.start))
        assign(self, seeds=self._stored_seeds())
        if self.spread is not None and self.start is None:
            raise ValueError("ES(spread=...) needs a start: ES(start=..., spread=...).")
        self._check_finite_sides()

    def _stored_sigma(self) -> Any:
        rule: Any = as_step_size(self.sigma)
        given = getattr(rule, "sigma", None)
        if given is not None:
            given = positive("ES", self.space, "sigma", given)
        if isinstance(rule, Constant):
            return given
        if given is not None:
            rule = dataclasses.replace(rule, sigma=given)
        return jax.tree.map(lambda leaf: as_leaf("ES", "sigma", leaf, self.space.dtype), rule)

    def _stored_seeds(self) -> Any:
        if self.seeds is None:
            return None
        seeds = numbers("ES", self.space, "seeds", self.seeds)
        counts = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(seeds)}
        count = counts.pop() if len(counts) == 1 else None
        due = self.population_size if is_traced(self.lam) else int(self.evaluations)
        room = due - (self.start is not None)
        if count is None or not 1 <= count <= room:
            most = f"{room} = population_size" + (" less the start" if self.start is not None else "")
            raise ValueError(
                f"ES(seeds=...) must have one leading axis of 1 to {most} solutions, got shapes {describe(seeds)}."
            )
        return points("ES", self.space, "seeds", seeds)

    def _check_finite_sides(self) -> None:
        if has_finite_sides(self.space):
            return
        seeded = 0 if self.seeds is None else np.shape(jax.tree.leaves(self.seeds)[0])[0]
        if self.start is None and seeded < self.population_size:
            raise ValueError(
                "ES(space=...) has an infinite side, so there is no uniform first population: give start=... (and spread=...), "
                f"or {self.population_size} seeds."
            )
        if getattr(as_step_size(self.sigma), "sigma", 0) is None:
            raise ValueError(
                "ES(sigma=...) must be given for a space with an infinite side: the default is a fraction of its width."
            )

    def enlarged(self, factor):
        rho = self.rho if self.rho != self.mu else factor * self.mu
        return dataclasses.replace(self, mu=factor * self.mu, lam=factor * self.lam, rho=rho)

    @property
    def children(self) -> int:
        """How many there are, or may be."""
        return super().population_size

    def started(self, start):
        if self.seeds is not None:
            raise ValueError("ES(seeds=...) are the first candidates of every run; start is the one of the first run alone.")
        return super().started(start)

    @property
    def population_size(self) -> int:
        return self.children + self.mu * self.reevaluate

    @property
    def evaluations(self) -> Any:
        return self.lam + self.mu * self.reevaluate

    @property
    def _shape(self) -> tuple[int, int]:
        """(groups, children): children of one group are mutations of one point."""
        if self.recombination == "none" and self.lam_max is None:
            return self.mu, self.children // self.mu
        if self.recombination in ("intermediate", "weighted") and self.rho in (None, self.mu):
            return 1, self.children
        return self.children, 1

    def _of_parents(self, values: jax.Array) -> jax.Array:
        """(groups, ...) of the parents' (mu, ...), where each child has one parent."""
        return values if self.lam_max is None else values[np.arange(self.children) % self.mu]

    def _init(self, state):
        d, dtype = self.space.dimension, self.space.dtype
        return ESState(
            **vars(state),
            parents=jnp.broadcast_to(state.best, (self.mu, d)),
            parent_fitness=jnp.full(self.mu, jnp.inf, dtype),
            memory=as_step_size(self.sigma).init(self.space, self.mu, self.children),
            told=self._told_first(),
        )

    def _ask(self, state):
        d, dtype = self.space.dimension, self.space.dtype
        box = tuple(side[None, None, :] for side in self.space.bounds())
        u, first = self._numbers(stream(state, Purpose.SAMPLE)), state.generation == 0

        mean, mix = self._recombine(state)
        sigma, memory = as_step_size(self.sigma).mutate(
            self.space, state.memory, state.generation, stream(state, Purpose.STEP_SIZE), mix, self._shape
        )
        if self.start is not None:
            start, spread = self._start_and_spread()
            mean, sigma = jnp.where(first, start, mean), jnp.where(first, spread, sigma)
        sigma = jnp.minimum(sigma, float(jnp.finfo(dtype).max) / 8)  # a normal number times it stays finite
        noise = u.reshape(*self._shape, d)
        x = self.bounds.gaussian(noise, mean, sigma, *box)
        if self.mutation_rate is not None:
            rate = self.space.flatten(self.mutation_rate, "mutation_rate")[None, None, :]
            rate = self.bounds.mutation_rate(rate, mean, sigma, *box)
            gate = random.stored(stream(state, Purpose.MUTATE), noise.shape, dtype)
            x = jnp.where(first | (gate < rate), x, mean)
        x = x.reshape(self.children, d)
        # A branch would be taken twice under vmap, so the first generation is selected, from the same uniform numbers.
        if self.start is None:
            x = jnp.where(first, self._uniform(u), x)
        if self.reevaluate:
            more = random.stored(random.fold_in(stream(state, Purpose.RECOMBINE), 2), (self.mu, d), dtype)
            fresh = self._uniform(more) if self.start is None else self.bounds.gaussian(more[:, None], start, spread, *box)
            again = jnp.where(first, fresh.reshape(self.mu, d), state.parents)
            x = jnp.concatenate([x, again] if self.lam_max is None else [again, x])
        given = self._given()
        if given is not None:
            head = x[: given.shape[0]]
            x = x.at[: given.shape[0]].set(jnp.where(first, given, head))
        return x, dataclasses.replace(state, memory=memory)

    def _numbers(self, key: jax.Array) -> jax.Array:
        """(children, d) uniform in [0, 1), of which mutations are made."""
        d, dtype, (groups, size) = self.space.dimension, self.space.dtype, self._shape
        if self.sampling == "independent" or groups == 1 or size == 1:
            return uniform_vectors(key, self.children, d, dtype, self.sampling, in_pairs=self.lam_max is not None)

        def of_group(i):
            return uniform_vectors(random.fold_in(key, i), size, d, dtype, self.sampling)

        return jax.vmap(of_group)(jnp.arange(groups, dtype=jnp.int32)).reshape(self.children, d)

    def _uniform(self, u: jax.Array) -> jax.Array:
        """Points all over the box, (n, d), from uniform numbers of that shape."""
        lower, upper = (side[None, :] for side in self.space.bounds())
        return self.space.between(lower, upper, u)

    def _start_and_spread(self) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation of the first generation, each (1, 1, d)."""
        start = self.space.encode(self.start)
        if self.spread is None:
            rule = as_step_size(self.sigma)
            memory = rule.init(self.space, self.mu, self.children)
            spread = rule.scale(self.space, memory, jnp.zeros((), jnp.int32)).reshape(-1, start.shape[0])[0]
        else:
            spread = self.space.flatten(self.spread, "spread")
        return start[None, None, :], spread[None, None, :]

    def _given(self) -> jax.Array | None:
        """(n, d) candidates with which the first generation begins: the seeds, then the start."""
        given = []
        if self.seeds is not None:
            given.append(jax.vmap(self.space.encode)(self.seeds))
        if self.start is not None:
            given.append(self.space.encode(self.start)[None, :])
        if not given:
            return None
        lower, upper = (side[None, :] for side in self.space.bounds())
        return jnp.clip(jnp.concatenate(given)[: self.population_size], lower, upper)

    def _recombine(self, state):
        """The point that each group mutates, (groups, 1, d), and how values per parent (mu, k) become (groups, 1, k)."""
        mu, rho, dtype = self.mu, self.rho or self.mu, self.space.dtype
        if self.recombination == "none":
            return self._of_parents(state.parents)[:, None, :], lambda values: self._of_parents(values)[:, None, :]
        key = stream(state, Purpose.RECOMBINE)
        choose, pick = random.fold_in(key, 0), random.fold_in(key, 1)
        weights = rank_weights(rho) if self.recombination == "weighted" else equal_weights(rho)
        chosen = None
        if rho < mu:
            chosen = choose_parents(choose, self.children, mu, rho)
            matrix = spread_weights(membership(chosen, mu), weights, dtype)
        else:
            matrix = jnp.asarray(weights, dtype)[None, :]

        def mix(values):
            return mul(matrix, values)[:, None, :]

        if self.recombination == "discrete":
            return discrete(pick, state.parents, self.children, chosen)[:, None, :], mix
        lower, upper = self.space.bounds()
        return self.bounds.mean(state.parents, matrix, lower[None, :], upper[None, :])[:, None, :], mix

    def _tell(self, state, x, fitness):
        children, child_fitness, parents, parent_fitness = x, fitness, state.parents, state.parent_fitness
        if self.reevaluate:
            (children, parents), (child_fitness, parent_fitness) = self._parts(x), self._parts(fitness)
        if self.selection == "comma":
            candidates, values = children, child_fitness
        else:
            # Children come first: on a plateau they win ties, and the population keeps moving.
            candidates, values = jnp.concatenate([children, parents]), jnp.concatenate([child_fitness, parent_fitness])
        best, survivors = truncation(values, self.mu)
        success = jnp.where(state.generation == 0, jnp.nan, self._success(child_fitness, parent_fitness))
        rule = as_step_size(self.sigma)
        return dataclasses.replace(
            state,
            parents=candidates[survivors],
            parent_fitness=best,
            memory=rule.update(self.space, state.memory, survivors, success),
            told=self._told_next(state),
        )

    def _parts(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Those of the children, and those of the parents that are evaluated again."""
        if self.lam_max is None:
            return rows[: self.children], rows[self.children :]
        return rows[self.mu :], rows[: self.mu]

    def _success(self, child_fitness, parent_fitness):
        """(), the share of children fitter than what they were made from: their parent, or the median of all parents."""
        if self.recombination == "none":
            reference = self._of_parents(parent_fitness)[:, None]
        else:
            reference = truncation(parent_fitness, (self.mu + 1) // 2)[0][-1].reshape(1, 1)
        better = child_fitness.reshape(reference.shape[0], -1) < reference  # what does not count is infinite
        return jnp.sum(better, dtype=child_fitness.dtype) / self._number(child_fitness.dtype)

    def step_size(self, state):
        return as_step_size(self.sigma).scale(self.space, state.memory, state.generation).max()
