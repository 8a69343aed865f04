"""A `Problem` is an objective that knows its space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.typing import ArrayLike

from jaxes.pytree import pytree, static
from jaxes.space import Space


@pytree
class Problem:
    """An objective with its space and, where known, its optimum.

    It is called like any objective. Two problems of one function are one program: space and optimum are leaves.

    Args:
        function: one solution -> scalar, to be minimised.
        space: where solutions lie.
        optimum: the best solution, or None.
        optimal_value: its fitness, or None.
        name: as tables and plots show it.
    """

    function: Callable[[Any], jax.Array] = static()
    space: Space
    optimum: Any = None
    optimal_value: ArrayLike | None = None
    name: str = static(default="problem")

    def __call__(self, solution: Any) -> jax.Array:
        return self.function(solution)
