"""Islands: populations that evolve side by side and now and then exchange individuals.

Each island is a run of its own, with its own key and state; without migration, islands are `minimize(runs=n)`. Every so many
generations some of the candidates that an island has just evaluated go to its neighbours, which are told of them as if they
were their own: nothing is evaluated twice, and whatever learns from a population learns from a migrant. Strategies that learn a
distribution take it as an injected solution, in differential evolution it challenges the individual whose trial it replaces.

The best of a generation emigrate and not the best so far: sent again and again, one individual takes over. On Rastrigin's
function in 10-D, 8 islands of SHADE that exchange one in every generation find the optimum in .96 of 96 runs, and with the best
so far in .03; 8 of CMA-ES that do so in every third end at a median of 4.0, and of 8.9.

References: M. Rucinski, D. Izzo & F. Biscani, On the impact of the migration topology on the island model, Parallel Computing
36 (2010), 555-571, arXiv 1004.4541. "best" is the default of pygmo's archipelago; "random" is an exchange, as inspyred's
migrator makes it, but in step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from jaxes import random
from jaxes.branch import where_due
from jaxes.checks import as_number, check_choice, check_integer, check_whole
from jaxes.operators.selection import truncation
from jaxes.pytree import assign, pytree, static
from jaxes.reevaluate import Reevaluate
from jaxes.strategies.unrolled import Unrolled
from jaxes.strategy import LIMIT, Around, Purpose, State, Strategy, clean, stream

NEIGHBOURS = {"ring": 1, "star": 1, "torus": 2, "random": 1}
"""From how many islands migrants arrive; those that arrive at a star's hub are chosen among all."""
POLICIES = "best", "random"


@pytree
class IslandsState(State):
    """What all islands remember."""

    members: Any  # their own states; every leaf has a leading axis of islands


@pytree
class Islands(Around):
    """Several populations of a strategy that exchange individuals.

    Args:
        strategy: e.g. `CMAES(space)`; of one stage. Restarts and averages go around it: `Restart(Islands(CMAES(space)))`.
        islands: how many; default 8.
        every: generations from one migration to the next, a leaf. Default 5: on Rastrigin's and Rosenbrock's functions in 10-D,
            SHADE and CMA-ES take fewer evaluations than with 10; with 3, CMA-ES more often ends in a bad optimum.
        migrants: k, how many candidates an island sends to each of its neighbours; default 1.
        topology: "ring" (island i sends to i + 1), "star" (the hub, island 0, sends to all others; of what they send to it, k
            arrive), "torus" (a grid as square as can be: to the right and down), or "random" (a ring whose order is drawn anew
            for every migration).
        policy: "best": copies of the k best candidates of a generation replace the worst where they go, if they are better; or
            "random": k candidates at random leave, and what arrives takes their places, whatever it is worth.
        over: name -> a value for each island, for islands with different numbers: `{"sigma": [0.1, 0.3, 1.0, 3.0]}`.

    The population of `ask` is that of all islands, one after the other. A run ends when all islands have a reason to; until
    then, those that have converged go on. `state.members` are the islands' own states, which `spread` puts on several devices.
    """

    strategy: Strategy
    _: KW_ONLY
    islands: int = static(default=8)
    every: ArrayLike = 5
    migrants: int = static(default=1)
    topology: Literal["ring", "star", "torus", "random"] = static(default="ring")
    policy: Literal["best", "random"] = static(default="best")
    over: Any = None

    def __post_init__(self):
        must, kind = "Islands(strategy=...) must be a strategy", type(self.strategy).__name__
        if not isinstance(self.strategy, Strategy):
            raise TypeError(f"{must} such as jaxes.CMAES(space), got {self.strategy!r}.")
        if len(self.strategy.stages) > 1:
            raise ValueError(f"{must} of one stage, got {kind}. Restarts go around it: Restart(Islands(...)).")
        if isinstance(self.strategy, Reevaluate):
            raise ValueError(f"{must} whose candidates all differ, got {kind}. It goes around it: Reevaluate(Islands(...)).")
        if isinstance(self.strategy, Unrolled):
            raise ValueError(f"{must} whose candidates may move, got {kind}: its particles have inner states.")
        if not isinstance(self.strategy.evaluations, int):
            raise ValueError(f"{must} without lam_max, so that all candidates count, got {kind}.")
        for name, least in (("islands", 2), ("migrants", 1)):
            assign(self, **{name: check_integer("Islands", name, getattr(self, name), at_least=least)})
        check_choice("Islands", "topology", self.topology, NEIGHBOURS)
        check_choice("Islands", "policy", self.policy, POLICIES)
        check_whole("Islands", "every", self.every, 1, LIMIT)
        assign(self, every=as_number("Islands", "every", self.every, np.int32))
        if self.topology == "torus" and self._height == 1:
            raise ValueError(f'Islands(islands=...) must not be a prime number with topology="torus", got {self.islands}.')
        size, neighbours = self.strategy.population_size, NEIGHBOURS[self.topology]
        if self.migrants * neighbours > size:
            raise ValueError(
                f"Islands(migrants=...) must be at most {size // neighbours}, of a population of {size} where they arrive from "
                f"{neighbours}, got {self.migrants}."
            )
        assign(self, over=self._stacked(self.over or {}))

    def _stacked(self, over: Any) -> dict[str, Any]:
        """The values of every name with a leading axis of islands."""
        if not isinstance(over, Mapping):
            raise TypeError(f'Islands(over=...) must be a dict of name -> values such as {{"sigma": [...]}}, got {over!r}.')
        fields: Any = dataclasses.fields(cast(Any, self.strategy))
        names = [f.name for f in fields if not f.metadata.get("static") and f.name != "space"]
        settings: list[dict[str, Any]] = [{} for _ in range(self.islands)]
        for name, values in over.items():
            if name not in names:
                kind = type(self.strategy).__name__
                raise ValueError(f"Islands(over=...) cannot vary {name!r} of {kind}; it may vary {', '.join(names)}.")
            counts = {len(values)} if isinstance(values, list) else {np.shape(v)[:1] for v in jax.tree.leaves(values)}
            if counts not in ({self.islands}, {(self.islands,)}):
                raise ValueError(f"Islands(over={{{name!r}: ...}}) must be a list of {self.islands} values, got {values!r}.")
            for i, setting in enumerate(settings):
                setting[name] = values[i] if isinstance(values, list) else jax.tree.map(lambda v, i=i: v[i], values)
        members = [self._member(setting) for setting in settings]
        if len({(jax.tree.structure(member), *map(np.shape, jax.tree.leaves(member))) for member in members}) > 1:
            raise ValueError(f"Islands(over=...) must give strategies that differ in numbers alone, got {over!r}.")
        return {name: jax.tree.map(lambda *v: jnp.stack(v), *(getattr(member, name) for member in members)) for name in over}

    def _member(self, setting: dict[str, Any]) -> Strategy:
        """The strategy of one island."""
        return dataclasses.replace(cast(Any, self.strategy), **setting) if setting else self.strategy

    def _each(self, method: str, *arguments: Any) -> Any:
        """What a method of every island's strategy returns, of arguments with a leading axis of islands."""
        return jax.vmap(lambda setting, *mine: getattr(self._member(setting), method)(*mine))(self.over, *arguments)

    def started(self, start):
        if "start" in self.over:
            raise ValueError("Islands(over=...) has a start for each island, of every run.")
        return super().started(start)

    def rescaled(self, factor):
        if "sigma" in self.over:
            raise ValueError("Islands(over=...) has an initial step size for each island.")
        return super().rescaled(factor)

    @property
    def population_size(self) -> int:
        return self.islands * self.strategy.population_size

    @property
    def _height(self) -> int:
        """Rows of the torus: the largest divisor of the number of islands that is no larger than its root."""
        return max(r for r in range(1, math.isqrt(self.islands) + 1) if self.islands % r == 0)

    def _init(self, state):
        def begun(i):  # with the keys of `minimize(runs=n)`: without migration, the same runs
            return dataclasses.replace(state, key=random.fold_in(state.key, i))

        blank = jax.vmap(begun)(jnp.arange(self.islands, dtype=jnp.int32))
        return IslandsState(**vars(state), members=self._each("_init", blank))

    def _ask(self, state):
        x, members = self._each("_ask", state.members)
        return x.reshape(-1, x.shape[-1]), dataclasses.replace(state, members=members)

    def tell_flat(self, state, x, fitness):
        shape = self.islands, self.strategy.population_size
        x, fitness = x.reshape(*shape, -1), fitness.astype(x.dtype).reshape(shape)

        due = (state.generation + 1) % jnp.asarray(self.every) == 0
        arrived = where_due(due, lambda told: self._migrated(state, *told), (x, fitness))
        members = self._each("tell_flat", state.members, *arrived)
        best = members.best_fitness.min()
        better = (best < state.best_fitness) | (state.generation == 0)
        # A sum, to which each device adds its own islands' part; an index would gather them all.
        winner = jnp.arange(self.islands) == jnp.argmin(members.best_fitness)
        return dataclasses.replace(
            state,
            generation=state.generation + 1,
            best=jnp.where(better, jnp.sum(members.best, axis=0, where=winner[:, None]), state.best),
            best_fitness=jnp.where(better, best, state.best_fitness),
            best_generation=jnp.where(better, state.generation, state.best_generation),
            invalid=state.invalid + jnp.sum(jnp.isnan(fitness), dtype=jnp.int32),
            members=members,
        )

    def _tell(self, state, x, fitness):
        raise AssertionError("the islands are told, by tell_flat")

    def _migrated(self, state: IslandsState, x: jax.Array, fitness: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Candidates (islands, lam, d) and their fitness (islands, lam) after a migration."""
        key, worth, k = stream(state, Purpose.MIGRATE), clean(fitness), self.migrants
        count = NEIGHBOURS[self.topology] * k
        if self.policy == "random":
            places = lax.top_k(random.uniform(random.fold_in(key, 0), fitness.shape, x.dtype), count)[1]
            leaving = places[:, :k]
        else:
            places, leaving = lax.top_k(worth, count)[1], lax.top_k(-worth, k)[1]
        arrived = self._arrived(random.fold_in(key, 1), _rows((x, fitness), leaving))
        if self.policy == "best":
            arrived = _rows(arrived, lax.top_k(-clean(arrived[1]), count)[1])  # the best for the place of the worst
            places = jnp.where(arrived[1] < jnp.take_along_axis(worth, places, axis=1), places, worth.shape[1])
        put = jax.vmap(lambda all_of_them, at, new: all_of_them.at[at].set(new, mode="drop"))
        return put(x, places, arrived[0]), put(fitness, places, arrived[1])

    def _arrived(self, key: jax.Array, leaving: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Who arrives on each island, (islands, count, d) and fitness, of who leaves each, (islands, migrants, d) and fitness.

        Rolls become collective permutes where the islands are spread over devices.
        """
        n, k, dtype = self.islands, self.migrants, leaving[1].dtype
        if self.topology == "ring":
            return jax.tree.map(lambda a: jnp.roll(a, 1, axis=0), leaving)
        if self.topology == "torus":
            grid = jax.tree.map(lambda a: a.reshape(self._height, n // self._height, *a.shape[1:]), leaving)
            both = jax.tree.map(lambda a: jnp.concatenate([jnp.roll(a, 1, axis) for axis in (1, 0)], axis=2), grid)
            return jax.tree.map(lambda a: a.reshape(n, *a.shape[2:]), both)
        if self.topology == "random":
            order = jnp.argsort(random.uniform(key, (n,), dtype)).astype(jnp.int32)
            sender = jnp.zeros_like(order).at[order].set(jnp.roll(order, 1))
            return jax.tree.map(lambda a: a[sender], leaving)
        worth = clean(leaving[1]) if self.policy == "best" else random.uniform(key, (n, k), dtype)
        chosen = k + truncation(worth[1:].reshape(-1), k)[1]
        others = jax.tree.map(lambda a: a.reshape(n * k, *a.shape[2:])[chosen][None], leaving)
        return jax.tree.map(lambda a, b: jnp.concatenate([b, jnp.broadcast_to(a[:1], (n - 1, *a.shape[1:]))]), leaving, others)

    def step_size(self, state):
        """() the largest of any island."""
        return self._each("step_size", state.members).max()

    def fitness_range(self, state):
        """() the largest of any island."""
        return self._each("fitness_range", state.members).max()

    def stop_reason(self, state):
        return self._each("stop_reason", state.members).min()  # RUNNING is the smallest


def of_islands(state: Any) -> Any:
    """A pytree like a state: whether a leaf has an axis of islands, the first one (after those of a batch)."""

    def mark(node):
        if isinstance(node, IslandsState):
            return dataclasses.replace(jax.tree.map(lambda _: False, node), members=jax.tree.map(lambda _: True, node.members))
        return False

    return jax.tree.map(mark, state, is_leaf=lambda node: isinstance(node, IslandsState))


def has_islands(strategy: Strategy) -> bool:
    """Whether a strategy's state has islands, at whatever depth."""
    state = jax.eval_shape(strategy.init, jax.eval_shape(lambda: jax.random.key(0)))
    return any(jax.tree.leaves(of_islands(state)))


def spread(state: Any, devices: Sequence[Any] | None = None) -> Any:
    """The state of a run with its islands on several devices, as many on each; `run(state=...)` then evaluates and tells each
    of them where it lies. What they share is on all devices. Default: `jax.devices()`."""
    return spread_over("spread", Mesh(np.asarray(jax.devices() if devices is None else devices), ("devices",)), state, 0)


def check_spread(owner: str, mesh: Mesh, state: Any, axis: int = 0) -> None:
    """Refuses islands that cannot be shared equally; of a state, or of what looks like it."""
    leaves, marks = jax.tree.leaves(state), jax.tree.leaves(of_islands(state))
    for islands in {leaf.shape[axis] for leaf, mine in zip(leaves, marks, strict=True) if mine}:
        if islands % mesh.size:
            raise ValueError(f"{owner}(devices=...) must be as many as divide {islands} islands, got {mesh.size}.")


def spread_over(owner: str, mesh: Mesh, state: Any, axis: int) -> Any:
    """`spread` over a mesh, for a pytree with states whose axis of islands is another."""
    check_spread(owner, mesh, state, axis)
    marks = of_islands(state)
    whole = NamedSharding(mesh, PartitionSpec())
    part = NamedSharding(mesh, PartitionSpec(*[None] * axis, tuple(mesh.axis_names)))
    return jax.tree.map(lambda leaf, mine: jax.device_put(leaf, part if mine else whole), state, marks)


def _rows(candidates: tuple[jax.Array, jax.Array], index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Some (n, k) of each island's candidates (n, m, d) and fitness (n, m)."""
    x, fitness = candidates
    return jnp.take_along_axis(x, index[:, :, None], axis=1), jnp.take_along_axis(fitness, index, axis=1)
