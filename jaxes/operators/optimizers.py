"""Following a gradient: ClipUp, and how a strategy holds any optimizer of `optax` so that its learning rate is a leaf."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxes.checks import as_leaf
from jaxes.operators.step_size import as_schedule
from jaxes.settings import positive
from jaxes.space import Space


class ClipUpState(NamedTuple):
    """What ClipUp remembers."""

    steps: jax.Array  # () int32, so far, for schedules
    velocity: optax.Updates  # like the parameters


def clipup(
    learning_rate: ArrayLike | Callable[[jax.Array], Any], momentum: ArrayLike = 0.9, max_velocity: ArrayLike | None = None
) -> optax.GradientTransformation:
    """ClipUp: normalised gradients, momentum, and a velocity of limited length; an `optax` optimizer.

    v <- momentum * v - learning_rate * g / |g|, shortened to max_velocity where it is longer; v is the update. Nothing but the
    gradient's direction matters; a gradient of zero adds nothing.

    Args:
        learning_rate: a number, one per parameter, or a schedule (a function of the count of steps).
        momentum: default 0.9, as in the paper.
        max_velocity: how far one step may go; default twice the (largest) learning rate, as in the paper's experiments.

    Reference: N. Toklu, P. Liskowski & R. Srivastava, ClipUp: A Simple and Powerful Optimizer for Distribution-Based Policy
    Evolution, PPSN XVI (2020), Algorithm 1.
    """

    def init(params):
        return ClipUpState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        rate = learning_rate(state.steps) if callable(learning_rate) else learning_rate
        limit = 2 * jnp.max(jnp.asarray(rate)) if max_velocity is None else max_velocity
        size = _length(updates)
        push = jax.tree.map(lambda g: rate * (g / jnp.where(size > 0, size, 1).astype(g.dtype)), updates)
        velocity = jax.tree.map(lambda v, p: momentum * v - p, state.velocity, push)
        speed = _length(velocity)
        factor = jnp.where(speed > limit, limit / speed, 1)
        velocity = jax.tree.map(lambda v, old: (factor * v).astype(old.dtype), velocity, state.velocity)
        return velocity, ClipUpState(optax.safe_increment(state.steps), velocity)

    return optax.GradientTransformation(init, update)


def _length(tree: Any) -> jax.Array:
    """() the Euclidean norm, whose squares neither overflow nor vanish."""
    largest = optax.tree.norm(tree, ord=jnp.inf)
    scale = jnp.where(largest > 0, largest, 1)
    return scale * optax.tree.norm(jax.tree.map(lambda leaf: leaf / scale.astype(leaf.dtype), tree))


@dataclasses.dataclass(frozen=True)
class _Built:
    """An optimizer that was already built, as a factory; the same program where it is the same object."""

    transformation: optax.GradientTransformation

    def __call__(self) -> optax.GradientTransformation:
        return self.transformation


def is_built(optimizer: Any) -> bool:
    """Whether an `as_optimizer` takes no learning rate."""
    return optimizer is not None and isinstance(optimizer.func, _Built)


def as_optimizer(owner: str, space: Space, optimizer: Any) -> Partial:
    """The factory that an `optimizer=` argument stands for: its function is static, the arrays it may hold are leaves."""
    if isinstance(optimizer, optax.GradientTransformation):
        return Partial(_Built(optimizer))
    if not callable(optimizer):
        raise TypeError(
            f"{owner}(optimizer=...) must be a function of a learning rate such as optax.adam, or what it makes, "
            f"got {optimizer!r}."
        )
    factory = optimizer if isinstance(optimizer, Partial) else Partial(optimizer)
    return jax.tree.map(lambda leaf: as_leaf(owner, "optimizer", leaf, space.dtype), factory)


def as_learning_rate(owner: str, space: Space, rate: Any) -> Any:
    """What a `learning_rate=` argument is stored as: numbers or a `Schedule`."""
    return as_schedule(rate) if callable(rate) else positive(owner, space, "learning_rate", rate)


def check_optimizer(owner: str, make: Callable[[], optax.GradientTransformation], space: Space) -> None:
    """Traces one step, and refuses an optimizer that needs more than a gradient and parameters."""

    def step(x):
        optimizer = make()
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(x, optimizer.init(x), x)[0]

    x = jax.ShapeDtypeStruct((space.dimension,), space.dtype)
    try:
        got = jax.eval_shape(step, x)
    except Exception as error:
        raise TypeError(
            f"{owner}(optimizer=...) must be an optax optimizer, or a function that makes one of a learning rate, which needs "
            f"nothing but the gradient and the parameters (d,): {error}"
        ) from error
    if np.shape(got) != x.shape:
        raise TypeError(f"{owner}(optimizer=...) must return updates of shape {x.shape} = (d,), got {got}.")
