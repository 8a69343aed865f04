"""What a solution looks like, and where it may lie.

Users see their own pytree; strategies see flat vectors of shape (d,). A space is the only place that converts, and it
also chooses the coordinates: on a log scale a strategy searches the natural logarithm.
"""

from __future__ import annotations

import abc
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes import random
from jaxes.checks import as_float_dtype, as_leaf, check_choice, check_integer, describe, is_traced
from jaxes.pytree import assign, node_types, pytree, static


class Space(abc.ABC):
    """The border between a user's solution and a strategy's flat vector of `dimension` floats.

    A new kind of space implements `dimension`, `dtype`, `bounds`, `decode`, `encode` and `flatten`. None of them has a
    batch axis: use `jax.vmap`.
    """

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """d, the number of coordinates."""

    @property
    @abc.abstractmethod
    def dtype(self) -> Any:
        """The floating dtype of the flat vector."""

    @abc.abstractmethod
    def bounds(self) -> tuple[jax.Array, jax.Array]:
        """Lower and upper bound of the flat vector, each (d,); infinite where there is none."""

    @abc.abstractmethod
    def decode(self, x: jax.Array) -> Any:
        """The solution, as the user's pytree, of a flat vector (d,)."""

    @abc.abstractmethod
    def encode(self, solution: Any) -> jax.Array:
        """The flat vector (d,) of a solution. ValueError if its structure or a shape is not this space's."""

    def sample(self, key: jax.Array, count: int) -> Any:
        """Solutions uniform in the bounds (in the logarithm on a log scale), with a leading axis of `count`."""
        lower, upper = (side[None, :] for side in self.bounds())
        return jax.vmap(self.decode)(self.between(lower, upper, random.uniform(key, (count, self.dimension), self.dtype)))

    @staticmethod
    def between(lower: jax.Array, upper: jax.Array, u: jax.Array) -> jax.Array:
        """The points at shares `u` in [0, 1) of the way, for bounds whose difference may overflow."""
        return jnp.clip(lower * (1 - u) + upper * u, lower, upper)

    @abc.abstractmethod
    def flatten(self, value: Any, name: str) -> jax.Array:
        """A setting per coordinate (a sigma, a rate) as (d,): from one number, a flat (d,) vector, or a pytree of numbers
        or arrays like a solution. Not transformed: on a log scale it counts in units of the logarithm."""


@pytree
class Box(Space):
    """All arrays of one shape with lower <= x <= upper.

    Args:
        lower, upper: numbers or arrays that broadcast to `shape`. May be infinite where the strategy is given a start.
            They are rounded inwards to the dtype, so that no candidate exceeds the bound that was written.
        shape: shape of a solution, an int or a tuple; default: what `lower` and `upper` broadcast to. With the default,
            `Box(-5, 5)` holds scalars.
        scale: "linear", or "log" to search the natural logarithm of a positive quantity: uniform starts are uniform in
            the logarithm, and a sigma of 0.7 doubles or halves.

    The dtype is that of the bounds if they are floating arrays, else JAX's default float.

    Raises:
        ValueError: lower >= upper, NaN bounds, a shape that the bounds do not broadcast to, lower <= 0 on a log scale.
    """

    lower: ArrayLike
    upper: ArrayLike
    shape: Any = static(default=None)
    scale: Literal["linear", "log"] = static(default="linear")

    def __post_init__(self):
        check_choice("Box", "scale", self.scale, ("linear", "log"))
        given = {"lower": self.lower, "upper": self.upper}
        for name, value in given.items():
            as_leaf("Box", name, value, float)
        dtype = as_float_dtype(self.lower, self.upper)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"Box(lower=..., upper=...) must be float32 or float64, got {np.dtype(dtype).name}.")
        lower = _inwards(self.lower, dtype, np.inf)
        upper = _inwards(self.upper, dtype, -np.inf)
        shape = self.shape
        try:
            common = np.broadcast_shapes(np.shape(lower), np.shape(upper))
            if shape is None:
                shape = common
            else:
                sizes = (shape,) if np.ndim(shape) == 0 else tuple(shape)
                shape = tuple(check_integer("Box", "shape", size, at_least=1) for size in sizes)
            if np.broadcast_shapes(common, shape) != shape:
                raise ValueError
        except ValueError as error:
            if "must be" in str(error):
                raise
            raise ValueError(
                f"Box(lower=..., upper=...) must broadcast to shape={shape}, got shapes {np.shape(self.lower)} and "
                f"{np.shape(self.upper)}."
            ) from None
        if not is_traced(lower, upper):
            low, high = np.asarray(lower), np.asarray(upper)
            if np.isnan(low).any() or np.isnan(high).any():
                raise ValueError(f"Box(lower=..., upper=...) must not be NaN, got lower={self.lower}, upper={self.upper}.")
            if not (low < high).all() or (low == np.inf).any() or (high == -np.inf).any():
                raise ValueError(
                    f"Box(lower=..., upper=...) must satisfy lower < upper in {np.dtype(dtype).name}, got "
                    f"lower={self.lower}, upper={self.upper}."
                )
            tiny = np.finfo(dtype).tiny
            if self.scale == "log" and not (low >= tiny).all():
                raise ValueError(
                    f'Box(lower=...) must be at least {tiny} with scale="log", got lower={self.lower}. '
                    "Use the smallest value worth trying."
                )
        assign(self, lower=lower, upper=upper, shape=shape)

    @property
    def dimension(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> Any:
        return jnp.result_type(self.lower, self.upper)

    def _sides(self) -> tuple[jax.Array, jax.Array]:
        return jnp.broadcast_to(self.lower, self.shape), jnp.broadcast_to(self.upper, self.shape)

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        lower, upper = (side.reshape(-1) for side in self._sides())
        return (jnp.log(lower), jnp.log(upper)) if self.scale == "log" else (lower, upper)

    def decode(self, x: jax.Array) -> jax.Array:
        x = x.reshape(self.shape)
        # The logarithm of a bound is rounded, so its exponential may miss the bound by an ulp.
        return jnp.clip(jnp.exp(x), *self._sides()) if self.scale == "log" else x

    def encode(self, solution: ArrayLike) -> jax.Array:
        if np.shape(solution) != self.shape:
            raise ValueError(f"a solution of this space has shape {self.shape}, got {describe(solution)}.")
        x = jnp.asarray(solution).astype(self.dtype).reshape(-1)
        return jnp.log(x) if self.scale == "log" else x

    def flatten(self, value: ArrayLike, name: str) -> jax.Array:
        try:
            if np.shape(value) not in (self.shape, (self.dimension,)):
                value = jnp.broadcast_to(value, self.shape)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} must be one number, or broadcast to the solution's shape {self.shape}, got {describe(value)}."
            ) from None
        return jnp.asarray(value).astype(self.dtype).reshape(-1)


@pytree
class Tree(Space):
    """A pytree of spaces; its solutions are pytrees of the same structure. Made by `as_space` from dicts, tuples, ..."""

    parts: tuple[Space, ...]
    structure: Any = static()
    types: Any = static()  # of the structure: JAX compares structures without the classes of dataclasses

    def __post_init__(self):
        dtypes = {np.dtype(part.dtype).name for part in self.parts}
        if len(dtypes) > 1:
            raise ValueError(f"the parts of one space must share one dtype, got {', '.join(sorted(dtypes))}.")

    @property
    def dimension(self) -> int:
        return sum(part.dimension for part in self.parts)

    @property
    def dtype(self) -> Any:
        return self.parts[0].dtype

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        lower, upper = zip(*(part.bounds() for part in self.parts), strict=True)
        return jnp.concatenate(lower), jnp.concatenate(upper)

    def decode(self, x: jax.Array) -> Any:
        ends = np.cumsum([part.dimension for part in self.parts])[:-1].tolist()
        pieces = jnp.split(x, ends)
        return self.structure.unflatten([part.decode(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def encode(self, solution: Any) -> jax.Array:
        return jnp.concatenate([part.encode(s) for part, s in zip(self.parts, self.split(solution), strict=True)])

    def flatten(self, value: Any, name: str) -> jax.Array:
        if jax.tree_util.all_leaves([value]) and np.shape(value) in ((), (self.dimension,)):
            return jnp.broadcast_to(jnp.asarray(value).astype(self.dtype), (self.dimension,))
        pairs = zip(self.parts, self.split(value, name), strict=True)
        return jnp.concatenate([part.flatten(v, name) for part, v in pairs])

    def split(self, tree: Any, name: str = "a solution") -> list[Any]:
        """What belongs to each part of a tree with this space's structure. ValueError if it has another."""
        try:
            return self.structure.flatten_up_to(tree)
        except (TypeError, ValueError):
            expected = self.structure.unflatten(["*"] * self.structure.num_leaves)
            got = jax.tree.map(lambda _: "*", tree)
            raise ValueError(f"{name} must have the structure {expected} of this space, got {got}.") from None


def as_space(space: Any) -> Space:
    """A space from a `Space` or from a pytree of them. TypeError for anything else."""
    if isinstance(space, Space):
        return space
    parts, structure = _flatten(space)
    if not parts or not all(isinstance(part, Space) for part in parts):
        must = "space must be a jaxes.Box or a pytree of them (dict, tuple, dataclass, ...)"
        if parts and all(hasattr(part, "shape") for part in parts):  # such as the parameters of a network
            hint = "jax.tree.map(lambda a: jaxes.Box(-np.inf, np.inf, shape=a.shape), params) is one like them, start=params"
            raise TypeError(f"{must}, got arrays of shapes {describe(space)}. {hint} begins there.")
        raise TypeError(f"{must}, got {space!r}.")
    return Tree(tuple(parts), structure, node_types(structure.unflatten([0] * len(parts))))


def _flatten(space: Any) -> tuple[list[Any], Any]:
    return jax.tree.flatten(space, is_leaf=lambda s: isinstance(s, Space))


def _inwards(bound: ArrayLike, dtype: Any, direction: float) -> Any:
    """The bound in `dtype`, moved one number inwards where rounding to it went outwards."""
    if is_traced(bound):
        return jnp.asarray(bound).astype(dtype)
    exact = np.asarray(bound)
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype)
    outside = rounded < exact if direction > 0 else rounded > exact
    return np.where(outside, np.nextafter(rounded, rounded.dtype.type(direction)), rounded)
