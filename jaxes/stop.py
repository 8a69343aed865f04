"""When a run ends, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes.checks import as_number, check_value, check_whole, is_traced
from jaxes.objective import Objective
from jaxes.pytree import assign, pytree, static
from jaxes.strategy import LIMIT, State, StopReason, Strategy


@pytree
class Stop:
    """Conditions checked after every generation, inside the compiled loop. What is None is not checked.

    Args:
        target: stop once the best fitness so far is at most this (at least, when maximising).
        stagnation: stop when the best so far did not improve for this many generations.
        spread: stop when max - min of a generation's fitness is below this; never with infinite fitness among them.
        diversity: stop when the standard deviation of the population is below this in every coordinate.
        step_size: stop when the largest standard deviation that the strategy would sample with is below this.
        evaluations: budget of evaluations of a run; a generation that would exceed it is not begun.
        converged: False goes on where the strategy itself sees no point in it (`StopReason.TOLX` and what follows it).

    All but the last are leaves: thresholds can be swept and changed without a new program. Spread, diversity and step size
    are in the units of fitness and of the space (of its logarithm on a log scale). Float32 resolves about 1e-7 of what it
    subtracts.
    """

    target: ArrayLike | None = None
    stagnation: ArrayLike | None = None
    spread: ArrayLike | None = None
    diversity: ArrayLike | None = None
    step_size: ArrayLike | None = None
    evaluations: ArrayLike | None = None
    converged: bool = static(default=True)

    def __post_init__(self):
        for name in ("target", "spread", "diversity", "step_size"):
            value = getattr(self, name)
            if value is not None:
                assign(self, **{name: as_number("Stop", name, value, jnp.result_type(float))})
        for name in ("stagnation", "evaluations"):
            value = getattr(self, name)
            if value is None:
                continue
            number = as_number("Stop", name, value, np.int64 if not isinstance(value, jax.Array) else value.dtype)
            if not isinstance(value, jax.Array) and np.asarray(value).dtype.kind not in "iu":
                raise TypeError(f"Stop({name}=...) must be an integer, got {value!r}.")
            check_whole("Stop", name, number, 1, LIMIT)
            assign(self, **{name: number.astype(np.int32)})
        if not isinstance(self.converged, bool | np.bool_):
            raise TypeError(f"Stop(converged=...) must be True or False, got {self.converged!r}.")
        check_value("Stop", "target", self.target, lambda v: ~np.isnan(v), "a number")
        for name in ("spread", "diversity", "step_size"):
            check_value("Stop", name, getattr(self, name), lambda v: v > 0, "positive")

    def check(self, strategy: Strategy) -> None:
        """Refuses a budget that does not pay for one generation."""
        size = strategy.evaluations
        if not is_traced(size):
            most = int(np.max(size))
            check_value("Stop", "evaluations", self.evaluations, lambda v: v >= most, f"at least one generation's {most}")

    def exceeded(self, strategy: Strategy, state: State) -> jax.Array:
        """() bool, whether the next generation would exceed the budget. It is not known before it is prepared."""
        if self.evaluations is None:
            return jnp.zeros((), bool)
        exceeded, pending = strategy.spent(state) > jnp.asarray(self.evaluations) - strategy.due(state), strategy.pending(state)
        return exceeded if pending is None else exceeded & ~pending

    def reason(
        self,
        strategy: Strategy,
        objective: Objective,
        state: State,
        x: jax.Array | None = None,
        fitness: jax.Array | None = None,
    ) -> jax.Array:
        """() int32 `StopReason` after a generation: its told state, candidates (n, d) and fitness (n,).

        Without candidates and fitness, what the state alone tells.
        """
        met: list[tuple[StopReason, Any]] = []
        if self.target is not None:
            met.append((StopReason.TARGET, state.best_fitness <= objective.sign(_like(self.target, state.best_fitness))))
        if self.stagnation is not None:
            met.append((StopReason.STAGNATION, state.generation - 1 - state.best_generation >= self.stagnation))
        if self.spread is not None and fitness is not None:
            met.append((StopReason.SPREAD, strategy.worst(state, fitness) - fitness.min() < _like(self.spread, fitness)))
        if self.diversity is not None and x is not None:
            met.append((StopReason.DIVERSITY, strategy.diversity(state, x) < _like(self.diversity, x)))
        if self.step_size is not None:
            met.append((StopReason.STEP_SIZE, strategy.step_size(state) < _like(self.step_size, state.best)))
        if self.evaluations is not None:
            met.append((StopReason.EVALUATIONS, self.exceeded(strategy, state)))
        reason = strategy.stop_reason(state) if self.converged else jnp.asarray(StopReason.RUNNING, jnp.int32)
        for why, holds in reversed(met):
            reason = jnp.where(holds, jnp.int32(why), reason)
        return reason


def as_stop(stop: Any) -> Stop:
    """A `Stop` from None, a `Stop`, or a dict of its arguments."""
    if stop is None:
        return Stop()
    if isinstance(stop, Stop):
        return stop
    if isinstance(stop, dict):
        names = [f.name for f in dataclasses.fields(Stop)]
        unknown = set(stop) - set(names)
        if unknown:
            raise ValueError(f"stop has no condition {sorted(unknown)}; it may have {', '.join(names)}.")
        return Stop(**stop)
    raise TypeError(f"stop must be a jaxes.Stop, a dict of its arguments, or None, got {stop!r}.")


def _like(value: ArrayLike, array: jax.Array) -> jax.Array:
    return jnp.asarray(value).astype(array.dtype)
