"""What is refused, in words that name the argument, the value it got and what it may be."""

import numbers
import operator
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def is_traced(*values: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def check_value(owner: str, name: str, value: Any, ok: Callable[[np.ndarray], Any], may_be: str) -> None:
    """Raises unless `ok` holds for every number in the pytree `value`. Tracers have no value yet and pass."""
    for leaf in jax.tree.leaves(value):
        if not is_traced(leaf) and not np.all(ok(np.asarray(leaf))):
            raise ValueError(f"{owner}({name}=...) must be {may_be}, got {value}.")


def check_whole(owner: str, name: str, value: Any, least: int, most: int) -> None:
    """Raises unless every number in the pytree `value` is a whole one from `least` to `most`, as `check_value` does."""
    check_value(
        owner, name, value, lambda v: (v == np.round(v)) & (v >= least) & (v <= most), f"an integer from {least} to {most}"
    )


def check_integer(owner: str, name: str, value: Any, at_least: int) -> int:
    """The value as an `int`; bool and float are refused rather than rounded."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{owner}({name}=...) must be an integer, got {value!r} of type {type(value).__name__}.")
    value = operator.index(value)
    if value < at_least:
        raise ValueError(f"{owner}({name}=...) must be at least {at_least}, got {value}.")
    return value


def check_seconds(owner: str, seconds: Any, name: str = "seconds") -> None:
    """A time that is positive."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number):
        raise TypeError(f"{owner}({name}=...) must be a number of seconds, got {seconds!r}.")
    if not seconds > 0:
        raise ValueError(f"{owner}({name}=...) must be a positive number of seconds, got {seconds!r}.")


def check_choice(owner: str, name: str, value: Any, choices: Iterable[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{owner}({name}=...) must be one of {', '.join(map(repr, choices))}, got {value!r}.")


def as_leaf(owner: str, name: str, value: Any, dtype: Any) -> Any:
    """The number or array `value` in `dtype`, so that 0.3, `np.float64(0.3)` and an array of it are one program."""
    if isinstance(value, jax.Array):
        if not jnp.issubdtype(value.dtype, jnp.number):
            raise TypeError(f"{owner}({name}=...) must be a number or an array of numbers, got dtype {value.dtype}.")
        return value.astype(dtype)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise TypeError
        return array.astype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"{owner}({name}=...) must be a number or an array of numbers, got {value!r}.") from None


def as_number(owner: str, name: str, value: Any, dtype: Any) -> Any:
    """`as_leaf` of what must be one number."""
    leaf = as_leaf(owner, name, value, dtype)
    if np.shape(leaf) != ():
        raise ValueError(f"{owner}({name}=...) must be one number, got {value!r}.")
    return leaf


def as_key(owner: str, key: Any) -> jax.Array:
    """A typed PRNG key from a key or from an integer seed; keys made by `jax.random.PRNGKey` are accepted too."""
    if isinstance(key, numbers.Integral) and not isinstance(key, bool):
        if not -(2**63) <= int(key) < 2**63:
            raise ValueError(f"{owner}(key=...) as a seed must fit into 64 bits, got {key}.")
        return jax.random.key(int(key))
    if isinstance(key, jax.Array | np.ndarray):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return jnp.asarray(key)
        if key.dtype == np.uint32 and key.ndim == 1 and key.shape == jax.random.key_data(jax.random.key(0)).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
        if jnp.issubdtype(key.dtype, jnp.integer) and key.shape == ():
            return jax.random.key(key)
        got = f"an array of dtype {key.dtype} and shape {key.shape}"
    else:
        got = f"{key!r}"
    raise TypeError(f"{owner}(key=...) must be one key of jax.random.key(seed) or an integer seed, got {got}.")


def describe(tree: Any) -> str:
    """The shapes of a pytree, as error messages show them."""
    shapes = jax.tree.map(lambda leaf: tuple(np.shape(leaf)), tree)
    return str(shapes)


def as_float_dtype(*values: ArrayLike) -> Any:
    """The dtype of those values that are floating arrays, else JAX's default float."""
    dtypes = [v.dtype for v in values if hasattr(v, "dtype") and jnp.issubdtype(v.dtype, jnp.floating)]
    return jax.dtypes.canonicalize_dtype(np.result_type(*dtypes)) if dtypes else jnp.result_type(float)
