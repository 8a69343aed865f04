"""Objectives that know their space, their optimum and, where they have some, their constraints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes.pytree import pytree, static
from jaxes.space import Box, Space


@pytree
class Problem:
    """An objective with its space and, where known, its optimum.

    It is called like any objective, with one solution; ValueError if that is not shaped like its space's. Two problems of
    one function are one program: all but function and name are leaves, so that instances of a problem can be batched.

    Args:
        function: one solution -> scalar, to be minimised; with `parameters`, they are its second argument.
        space: where solutions lie.
        optimum: the best solution, or None.
        optimal_value: its fitness, or None.
        name: as tables and plots show it.
        parameters: a pytree of arrays that makes one instance of the function, or None.
        offset: () is added to the function's value, if not None. A value whose interesting digits are far below the offset
            keeps them in `gap`.
    """

    function: Callable[..., jax.Array] = static()
    space: Space
    optimum: Any = None
    optimal_value: ArrayLike | None = None
    name: str = static(default="problem")
    parameters: Any = None
    offset: ArrayLike | None = None

    def __call__(self, solution: Any) -> jax.Array:
        value = self._value(solution)
        return value if self.offset is None else value + jnp.asarray(self.offset, value.dtype)

    def gap(self, solution: Any) -> jax.Array:
        """How far the fitness is above the optimal value, without rounding to the digits of the fitness itself.

        Raises:
            ValueError: the optimal value is not known.
        """
        return self.centred()(solution)

    def centred(self) -> Problem:
        """The same problem with an optimal value of 0: its fitness is the gap. What targets are measured on."""
        if self.optimal_value is None:
            raise ValueError(f"the optimal value of {self.name!r} is not known, so there is no gap to it.")
        if self.offset is None:
            rest = -jnp.asarray(self.optimal_value)
        else:  # in a problem that is all offset at its optimum, nothing is left to add
            rest = jnp.asarray(self.offset) - jnp.asarray(self.optimal_value)
        return dataclasses.replace(self, offset=rest, optimal_value=jnp.zeros_like(rest))

    def _value(self, solution: Any) -> jax.Array:
        batch = () if self.optimal_value is None else np.shape(self.optimal_value)
        if batch:
            raise ValueError(f"this is a batch of problems {self.name!r}, of shape {batch}: call it under jax.vmap.")
        jax.eval_shape(self.space.encode, solution)  # refuses another shape
        return self.function(solution) if self.parameters is None else self.function(solution, self.parameters)


@pytree
class MultiObjective:
    """Several objectives at once, all to be minimised.

    Args:
        function: one solution -> (objectives,).
        space: where solutions lie.
        objectives: how many.
        front: (key, count) -> (count, objectives), points drawn from the Pareto front, or None if it is not known.
        optima: (key, count) -> `count` solutions (leading axis) that are Pareto optimal, or None if none are known.
        name: as tables and plots show it.
    """

    function: Callable[[Any], jax.Array] = static()
    space: Space
    objectives: int = static()
    front: Callable[[jax.Array, int], jax.Array] | None = static(default=None)
    optima: Callable[[jax.Array, int], Any] | None = static(default=None)
    name: str = static(default="problem")

    def __call__(self, solution: Any) -> jax.Array:
        return self.function(solution)


@pytree
class Constrained:
    """An objective with constraints: minimise the objective where every equality is 0 and no inequality is above 0.

    Args:
        function: one solution -> scalar, to be minimised.
        space: where solutions lie.
        equality: one solution -> (equalities,), each 0 where feasible; or None.
        inequality: one solution -> (inequalities,), each at most 0 where feasible; or None.
        optimum: the best known feasible solution, or None.
        optimal_value: its fitness, or None.
        name: as tables and plots show it.
    """

    function: Callable[[Any], jax.Array] = static()
    space: Space
    equality: Callable[[Any], jax.Array] | None = static(default=None)
    inequality: Callable[[Any], jax.Array] | None = static(default=None)
    optimum: Any = None
    optimal_value: ArrayLike | None = None
    name: str = static(default="problem")

    def __call__(self, solution: Any) -> jax.Array:
        return self.function(solution)

    def violation(self, solution: Any, tolerance: ArrayLike = 0.0) -> jax.Array:
        """() by how much constraints are broken: the sum of |equality| above `tolerance` and of inequality above 0.

        0 where a solution is feasible; an equality counts as met within `tolerance`, 1e-4 in most of the literature.
        """
        value = self.function(solution)
        parts = [jnp.zeros((1,), value.dtype)]
        if self.equality is not None:
            parts.append(jnp.abs(self.equality(solution)) - jnp.asarray(tolerance, value.dtype))
        if self.inequality is not None:
            parts.append(self.inequality(solution))
        return jnp.sum(jnp.maximum(jnp.concatenate(parts), 0))


Formula = Callable[[jax.Array], tuple[Any, Sequence[Any], Sequence[Any]]]
"""One solution (d,) -> its objective f, the h that must be 0, and the g that must be at most 0."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """f, h or g of a formula. Equal for equal formulas, so that a problem made twice is one program."""

    formula: Formula
    part: int

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.asarray(self.formula(x)[self.part])


def from_formula(formula: Formula, lower: Any, upper: Any, optimum: Any = None, value: float | None = None) -> Constrained:
    """The problem of a formula in a box; its name is the formula's without the underscore."""
    space = Box(lower, upper)
    x = jax.ShapeDtypeStruct((space.dimension,), space.dtype)
    _, h, g = jax.eval_shape(formula, x)
    if optimum is not None:  # a bound that float32 rounded inwards takes an optimum on it along
        optimum = np.clip(np.asarray(optimum, space.dtype), space.lower, space.upper)
    return Constrained(
        function=_Part(formula, 0),
        space=space,
        equality=_Part(formula, 1) if h else None,
        inequality=_Part(formula, 2) if g else None,
        optimum=optimum,
        optimal_value=None if value is None else np.asarray(value, space.dtype),
        name=formula.__name__.lstrip("_"),
    )
