"""A real problem read through bits: what genetic algorithms on bit strings search.

As the `Binary` benchmark of ECsPy and inspyred: an integer per coordinate, most significant bit first, on a grid of equal
steps from the lower bound (all zeros) to the upper (all ones).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import check_integer, check_value, is_traced
from jaxes.problems.problem import Problem
from jaxes.pytree import pytree, static
from jaxes.space import Box


@pytree
class Bits:
    """The code between bits and solutions of a problem; a binary problem's `parameters`.

    Args:
        problem: the problem that is read through bits.
        dimension_bits: bits per coordinate.
    """

    problem: Problem
    dimension_bits: int = static()

    def decode(self, solution: jax.Array) -> jax.Array:
        """(d,) the real solution of bits (d * dimension_bits,); a bit is set where it is at least 0.5."""
        lower, upper = self.problem.space.bounds()
        bits = (jnp.asarray(solution) >= 0.5).astype(lower.dtype).reshape(-1, self.dimension_bits)
        places = np.exp2(np.arange(self.dimension_bits)[::-1]).astype(lower.dtype)
        share = jnp.sum(bits * places[None, :], axis=1) / float(2**self.dimension_bits - 1)
        return lower * (1 - share) + upper * share  # both bounds are met, and their difference may overflow


def binary(problem: Problem, dimension_bits: int) -> Problem:
    """A real problem read through `dimension_bits` bits a coordinate.

    As there is no space of bits, its space is a Box [0, 1] of as many coordinates as there are bits, each rounded: a bit is
    set where the coordinate is at least 0.5. `binary(problem, 16).parameters.decode(solution)` is the real solution.

    Its optimum is the best point of the grid, which is known only where the problem's own optimum lies on the grid; else
    optimum and optimal value are None, and the problem's optimal value is a lower bound that may not be attained. The middle
    of a box, where many classic functions have their optimum, is on no grid: 2**dimension_bits - 1 steps are odd in number.

    Args:
        problem: its space must be a flat Box with scale="linear" and finite bounds. The grid is made for every coordinate.
        dimension_bits: at most the digits of the problem's dtype (24 in float32, 53 in float64), so that no two integers
            are rounded to one.

    Raises:
        ValueError: another space, infinite bounds, too few or too many bits.
        TypeError: `problem` is no `Problem`, `dimension_bits` no integer.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"binary(problem=...) must be a jaxes.Problem, got {type(problem).__name__}.")
    box = problem.space
    if not isinstance(box, Box) or len(box.shape) != 1 or box.scale != "linear":
        raise ValueError(f'binary(problem=...) must have a flat Box with scale="linear" for its space, got {box}.')
    check_value("binary", "problem", box.bounds(), np.isfinite, "a problem with finite bounds")
    digits = np.finfo(box.dtype).nmant + 1
    dimension_bits = check_integer("binary", "dimension_bits", dimension_bits, 1)
    if dimension_bits > digits:
        raise ValueError(f"binary(dimension_bits=...) must be at most {digits} in {box.dtype}, got {dimension_bits}.")
    code = Bits(problem, dimension_bits)
    space = Box(np.zeros((), box.dtype), np.ones((), box.dtype), shape=(box.dimension * dimension_bits,))
    known = {} if problem.optimum is None or is_traced(problem) else _optimum(code)
    return Problem(_binary, space, name=f"binary_{problem.name}", parameters=code, **known)


def _binary(solution: jax.Array, code: Bits) -> jax.Array:
    return code.problem(code.decode(solution))


def _optimum(code: Bits) -> dict[str, Any]:
    """The bits of the problem's optimum and its value, if it is a point of the grid."""
    optimum = np.asarray(code.problem.optimum)
    lower, upper = (np.asarray(side, np.float64) for side in code.problem.space.bounds())
    largest = 2**code.dimension_bits - 1
    integers = np.rint((optimum / 2 - lower / 2) / (upper / 2 - lower / 2) * largest).astype(np.int64)
    bits = (integers[:, None] >> np.arange(code.dimension_bits)[::-1]) & 1
    bits = bits.reshape(-1).astype(code.problem.space.dtype)
    if not np.array_equal(code.decode(bits), optimum):
        return {}
    return {"optimum": bits, "optimal_value": code.problem.optimal_value}
