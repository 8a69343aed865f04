"""What users may give a strategy per coordinate or as points of the space, checked and in the space's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.bounds import Bounds
from jaxes.checks import as_leaf, as_number, check_integer, check_value, is_traced
from jaxes.space import Space, Tree


def numbers(owner: str, space: Space, name: str, value: Any) -> Any:
    """The numbers of a setting in the space's dtype; a list is an array where the space has one."""
    if isinstance(space, Tree) and not jax.tree_util.all_leaves([value]):
        parts = zip(space.parts, space.split(value, f"{owner}({name}=...)"), strict=True)
        return space.structure.unflatten([numbers(owner, part, name, v) for part, v in parts])
    return as_leaf(owner, name, value, space.dtype)


def per_coordinate(owner: str, space: Space, name: str, value: Any) -> Any:
    """A setting given as one number, one per coordinate, or a pytree like a solution: its shapes checked."""
    if value is None:
        return None
    value = numbers(owner, space, name, value)
    if np.shape(value) != ():
        jax.eval_shape(lambda v: space.flatten(v, f"{owner}({name}=...)"), value)
    return value


def positive(owner: str, space: Space, name: str, value: Any) -> Any:
    """A setting per coordinate that is positive and finite."""
    value = per_coordinate(owner, space, name, value)
    check_value(owner, name, value, lambda v: (v > 0) & np.isfinite(v), "positive and finite")
    return value


def point(owner: str, space: Space, name: str, value: Any) -> Any:
    """One solution of the space."""
    return None if value is None else jax.tree.map(lambda leaf: leaf[0], points(owner, space, name, value, lambda f: f))


def points(owner: str, space: Space, name: str, value: Any, batch: Callable = jax.vmap) -> Any:
    """Solutions with a leading axis: structure, shapes and place checked, and moved inside by the rounding they need."""
    value = numbers(owner, space, name, value)
    try:
        x = jnp.atleast_2d(batch(space.encode)(value))
    except ValueError as error:
        raise ValueError(f"{owner}({name}=...): {error}") from None
    lower, upper = space.bounds()
    if not is_traced(x, lower, upper):
        _check_inside(owner, name, np.asarray(x), np.asarray(lower), np.asarray(upper))
    return jax.vmap(space.decode)(jnp.clip(x, lower[None, :], upper[None, :]))


def _check_inside(owner: str, name: str, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
    # A point on the bound, as the user wrote both, may differ by the rounding of either.
    slack = 4 * np.finfo(x.dtype).eps * np.maximum(np.abs(lower), np.abs(upper))
    slack = np.where(np.isfinite(slack), slack, 0)
    outside = ~((lower - slack <= x) & (x <= upper + slack) & np.isfinite(x))
    if outside.any():
        row, i = (int(k) for k in np.argwhere(outside)[0])
        raise ValueError(
            f"{owner}({name}=...) must be finite and lie inside the box: flat coordinate {i} of point {row} is {x[row, i]}, "
            f"and may be {lower[i]} to {upper[i]}."
        )


def population(owner: str, lam: Any, most: Any, least: int) -> tuple[Any, int | None]:
    """lam and lam_max as they are stored: integers; where there is a lam_max, lam is a leaf."""
    if most is None:
        return check_integer(owner, "lam", lam, at_least=least), None
    most = check_integer(owner, "lam_max", most, at_least=least)
    may_be = f"an integer from {least} to lam_max={most}"
    check_value(owner, "lam", lam, lambda v: (v == np.round(v)) & (v >= least) & (v <= most), may_be)
    return as_number(owner, "lam", lam, np.int32), most


def check_bounds(owner: str, bounds: Any) -> None:
    if not isinstance(bounds, Bounds):
        raise TypeError(f"{owner}(bounds=...) must be Resample(), Clip(), Smooth(), Reflect() or Wrap(), got {bounds!r}.")


def check_beginning(owner: str, space: Space, **given: Any) -> None:
    """Refuses to begin in a space with an infinite side where one of the settings is None."""
    for name, value in given.items():
        if value is None and not has_finite_sides(space):
            raise ValueError(f"{owner}({name}=...) must be given for a space with an infinite side.")


def initial_deviations(space: Space, name: str, value: Any, share: float = 0.3) -> jax.Array:
    """(d,) initial standard deviations, as they are set or a share of the box's width; 0.3 is common, and sees all of it."""
    return share_of_width(space, share) if value is None else space.flatten(value, name)


def share_of_width(space: Space, share: float) -> jax.Array:
    """(d,) a share of the box's width, infinite where a side is.

    The same to the last digit in every program, however XLA rounds there: halves are exact, and only then there is a
    difference. (The difference of two shares is rounded differently where XLA melts it into one instruction, and a mean, which
    is remembered in units of the deviations, would be another point then.) And no width overflows.
    """
    lower, upper = space.bounds()
    return 2 * share * (upper / 2 - lower / 2)


def has_finite_sides(space: Space) -> bool:
    """Whether a uniform point of the space exists, as far as it is known."""
    leaves = jax.tree.leaves(space)
    return is_traced(leaves) or all(np.isfinite(np.asarray(leaf)).all() for leaf in leaves)
