"""Dataclasses that JAX can look into: what strategies, spaces and states are made of.

`jax.tree_util.register_dataclass` would not do. It rebuilds a value by calling its class, so a `__post_init__` that
validates would see tracers, axis numbers and `None`; here a value is validated when a person builds it, and only then.
And JAX compares the structure of two such dataclasses without their classes, so that `Clip()` could be served the program
compiled for `Wrap()`.
"""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jax import lax

T = TypeVar("T")


def static(*, default: Any = dataclasses.MISSING, unless: str | None = None) -> Any:
    """A field that picks the program (shapes, loop lengths, variants): hashable, compared by value, not a leaf.

    With `unless`, it is a leaf in values that have a static field of that name which is not None.
    """
    return dataclasses.field(default=default, metadata={"static": True, "unless": unless})


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
def pytree(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass whose fields are leaves, but for those declared with `static()`."""
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    always = tuple(f.name for f in fields if not f.metadata.get("static"))
    meta = tuple(f.name for f in fields if f.metadata.get("static"))
    conditional = tuple((f.name, f.metadata["unless"]) for f in fields if f.metadata.get("unless"))

    def names(value):
        return always + tuple(name for name, condition in conditional if getattr(value, condition, None) is not None)

    def flatten(value):
        data = names(value)
        return tuple(getattr(value, name) for name in data), tuple(None if n in data else getattr(value, n) for n in meta)

    def flatten_with_keys(value):
        children, aux = flatten(value)
        return tuple(zip(map(jax.tree_util.GetAttrKey, names(value)), children, strict=True)), aux

    def unflatten(aux, children):
        value = object.__new__(cls)
        for name, item in zip(meta, aux, strict=True):
            object.__setattr__(value, name, item)
        for name, item in zip(names(value), children, strict=True):
            object.__setattr__(value, name, item)
        return value

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def where(condition: Any, a: T, b: T) -> T:
    """`jnp.where` for every leaf of two pytrees of the same structure."""

    def chosen(x, y):
        same = jnp.shape(x) == jnp.shape(y) and jnp.result_type(x) == jnp.result_type(y)
        # What comes to the same is traced in a third of the time.
        return lax.select(condition, x, y) if same and jnp.ndim(condition) == 0 else jnp.where(condition, x, y)

    return jax.tree.map(chosen, a, b)


def assign(value: Any, **changes: Any) -> None:
    """Sets fields of a frozen dataclass; for `__post_init__` only, which turns what users may write into what is stored."""
    for name, item in changes.items():
        object.__setattr__(value, name, item)


def node_types(tree: Any) -> Any:
    """The classes of a pytree's nodes, nested like it: static metadata that tells apart what JAX would not."""

    def types(structure: Any) -> Any:
        node = structure.node_data()
        return (node and node[0], *map(types, structure.children()))

    return types(jax.tree.structure(tree))
