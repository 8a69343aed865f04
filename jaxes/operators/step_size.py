"""Mutation strength: what `sigma=` of an evolution strategy may be.

A number, an array per coordinate or a pytree like a solution is constant. The classes here change it. All of them are
values whose numbers are leaves; inside a strategy they answer four calls, on arrays without a batch axis:

    memory = rule.init(space, mu, lam)                                       # what it remembers; a pytree, often ()
    sigma, memory = rule.mutate(space, memory, generation, key, mix, shape)  # for all children
    memory = rule.update(space, memory, survivors, success)                  # after selection
    rule.scale(space, memory, generation)                                    # what the next generation starts from
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxes import random
from jaxes.bounds import normal
from jaxes.checks import as_leaf, as_number, check_value, is_traced
from jaxes.pytree import assign, pytree, static
from jaxes.settings import initial_deviations
from jaxes.space import Space

Mix = Callable[[jax.Array], jax.Array]


class StepSize(abc.ABC):
    """A rule for the standard deviation of mutations."""

    def init(self, space: Space, mu: int, lam: int) -> Any:
        """The rule's memory before the first generation."""
        return ()

    def mutate(
        self, space: Space, memory: Any, generation: jax.Array, key: jax.Array, mix: Mix, shape: tuple[int, int]
    ) -> tuple[jax.Array, Any]:
        """Standard deviations for children in `shape` = (groups, children), broadcastable to (groups, children, d), and
        the memory to hand to `update`. `mix` recombines values per parent (mu, k) into (groups, 1, k). By default,
        all children get `scale`."""
        return self.scale(space, memory, generation)[None, None, :], memory

    def update(self, space: Space, memory: Any, survivors: jax.Array, success: jax.Array) -> Any:
        """The memory after selection. `survivors` (mu,): indices into [children, then parents]; `success` (): share of
        children that were fitter than what they were made from, NaN before there were parents."""
        return memory

    @abc.abstractmethod
    def scale(self, space: Space, memory: Any, generation: jax.Array) -> jax.Array:
        """(d,) or (mu, d): the standard deviations that the rule stands at."""


@pytree
class Constant(StepSize):
    """The same standard deviation in every generation; what a plain `sigma=0.3` means."""

    sigma: Any

    def scale(self, space, memory, generation):
        return space.flatten(self.sigma, "sigma")


@pytree
class Schedule(StepSize):
    """Standard deviation as a function of the generation, by any `optax` schedule.

    `ES(space, sigma=optax.cosine_decay_schedule(1.0, 500))` works too, but hides the numbers from a sweep. Here they are
    leaves:

        Schedule(optax.cosine_decay_schedule, init_value=1.0, decay_steps=500)

    Args:
        factory: makes a schedule (generation -> number) from the settings.
        settings: keyword arguments of `factory`. Floats and arrays are leaves, unless the factory branches on them in
            Python (as `optax.exponential_decay` does on its `decay_rate`); those and integers are static.

    A schedule that falls to zero or below is held at the smallest positive number.
    """

    factory: Callable[..., Any] = static()
    values: dict[str, Any]
    fixed: tuple[tuple[str, Any], ...] = static(default=())
    factor: Any = None  # () of all it gives, or None

    def __init__(self, factory: Callable[..., Any], **settings: Any):
        if not callable(factory):
            raise TypeError(f"Schedule(factory=...) must make a schedule when called, got {factory!r}.")
        values = {name: v for name, v in settings.items() if isinstance(v, float | np.ndarray | jax.Array)}
        for name in list(values):
            if not is_traced(values[name]) and not _can_trace(factory, settings, name):
                values.pop(name)
        values = {name: as_leaf("Schedule", name, v, jnp.result_type(float)) for name, v in values.items()}
        fixed = tuple((name, _Fixed(v)) for name, v in settings.items() if name not in values)
        assign(self, factory=factory, values=values, fixed=fixed)
        if not is_traced(values):
            start = self(jnp.zeros((), jnp.int32))
            if np.shape(start) != ():
                raise ValueError(f"Schedule must return one number per generation, got shape {np.shape(start)}.")

    def __call__(self, generation: jax.Array) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):  # schedules mix the integer generation with floats
            given = jnp.asarray(self.factory(**self.settings)(generation))
            return given if self.factor is None else self.factor * given

    @property
    def settings(self) -> dict[str, Any]:
        """All keyword arguments of `factory`."""
        return self.values | {name: v.value for name, v in self.fixed}

    def replace(self, **changes: Any) -> Schedule:
        """The same schedule with some settings changed."""
        new = Schedule(self.factory, **(self.settings | changes))
        assign(new, factor=self.factor)
        return new

    def times(self, factor: Any) -> Schedule:
        """The same schedule times a factor ()."""
        new = copy.copy(self)
        assign(new, factor=factor if self.factor is None else factor * self.factor)
        return new

    def scale(self, space, memory, generation):
        sigma = self(generation).astype(space.dtype)
        return jnp.maximum(space.flatten(sigma, "sigma"), jnp.finfo(space.dtype).tiny)


@dataclasses.dataclass(frozen=True)
class _Fixed:
    """A setting that is compared as part of the program; by identity where it has no hash (a dict of boundaries)."""

    value: Any

    def __hash__(self):
        try:
            return hash(self.value)
        except TypeError:
            return id(self.value)


def _constantly(schedule: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return schedule


def _can_trace(factory: Callable[..., Any], settings: dict[str, Any], name: str) -> bool:
    def build(value):
        return factory(**{**settings, name: value})(0)

    try:
        jax.eval_shape(build, settings[name])
    except jax.errors.ConcretizationTypeError:
        return False
    return True


@pytree
class OneFifth(StepSize):
    """Rechenberg's 1/5th success rule: larger steps while more than a fifth of the mutations succeed, else smaller.

    After every generation log sigma grows by (success - target) / damping. A child succeeds if it is fitter than its
    parent; if several were recombined, fitter than their median.

    Args:
        sigma: initial standard deviation; default 0.3 of the box.
        target: success rate at which sigma stands still, in (0, 1).
        damping: generations for a change by a factor e at full success; default sqrt(d + 1).

    Source: Rechenberg (1973); this form: Hansen, Arnold & Auger (2015), Evolution Strategies, section 3.1. Departure: the
    share of all children in the place of one child's success, so that lam > 1 works alike.
    """

    sigma: Any = None
    target: ArrayLike = 0.2
    damping: ArrayLike | None = None

    def __post_init__(self):
        _check_sigma("OneFifth", self.sigma)
        as_number("OneFifth", "target", self.target, float)
        if self.damping is not None:
            as_number("OneFifth", "damping", self.damping, float)
        check_value("OneFifth", "target", self.target, lambda v: (v > 0) & (v < 1), "between 0 and 1")
        check_value("OneFifth", "damping", self.damping, lambda v: v > 0, "positive")

    def init(self, space, mu, lam):
        return jnp.zeros((), space.dtype)

    def update(self, space, memory, survivors, success):
        damping = (space.dimension + 1) ** 0.5 if self.damping is None else self.damping
        step = (success - jnp.asarray(self.target, success.dtype)) / jnp.asarray(damping, success.dtype)
        return _held(memory + jnp.where(jnp.isnan(success), 0, step))

    def scale(self, space, memory, generation):
        initial = initial_deviations(space, "sigma", self.sigma)
        # XLA compiles `exp` of one number otherwise than of many: alone and in a batch, it is of many.
        return _times(initial, lax.optimization_barrier(jnp.broadcast_to(memory, initial.shape)))


@pytree
class SelfAdaptation(StepSize):
    """Schwefel's log-normal self-adaptation: every individual carries its own standard deviations and inherits them.

    A child first mutates what it inherited, sigma * exp(tau * N(0, 1) + tau_coordinate * N_i(0, 1)), then itself with the
    result; selection does the rest. Parents' values are recombined by the geometric mean. Wants selection pressure: lam
    about 7 mu.

    Args:
        sigma: initial standard deviation; default 0.3 of the box.
        per_coordinate: one sigma per coordinate, rather than one per individual.
        tau: learning rate of what all coordinates share; default 1/sqrt(2 d).
        tau_coordinate: learning rate of each coordinate; default 1/sqrt(2 sqrt(d)). Only with `per_coordinate`.

    Source: Schwefel (1995); Beyer & Schwefel (2002), Evolution strategies: a comprehensive introduction.
    """

    sigma: Any = None
    per_coordinate: bool = static(default=False)
    tau: ArrayLike | None = None
    tau_coordinate: ArrayLike | None = None

    def __post_init__(self):
        _check_sigma("SelfAdaptation", self.sigma)
        for name in ("tau", "tau_coordinate"):
            if getattr(self, name) is not None:
                as_number("SelfAdaptation", name, getattr(self, name), float)
        if not isinstance(self.per_coordinate, bool):
            raise TypeError(f"SelfAdaptation(per_coordinate=...) must be True or False, got {self.per_coordinate!r}.")
        check_value("SelfAdaptation", "tau", self.tau, lambda v: v >= 0, "at least 0")
        check_value("SelfAdaptation", "tau_coordinate", self.tau_coordinate, lambda v: v >= 0, "at least 0")
        if self.tau_coordinate is not None and not self.per_coordinate:
            raise ValueError("SelfAdaptation(tau_coordinate=...) needs per_coordinate=True.")

    def init(self, space, mu, lam):
        k = space.dimension if self.per_coordinate else 1
        return jnp.zeros((mu, k), space.dtype), jnp.zeros((lam, k), space.dtype)

    def mutate(self, space, memory, generation, key, mix, shape):
        d, dtype = space.dimension, space.dtype
        parents, children = memory
        tau = jnp.asarray((2 * d) ** -0.5 if self.tau is None else self.tau, dtype)
        change = tau * normal(random.uniform(random.fold_in(key, 0), (*shape, 1), dtype))
        if self.per_coordinate:
            rate = (2 * d**0.5) ** -0.5 if self.tau_coordinate is None else self.tau_coordinate
            own = random.transformed(normal, random.fold_in(key, 1), (*shape, d), dtype)
            change = change + jnp.asarray(rate, dtype) * own
        log_factor = _held(mix(parents) + change)
        sigma = _times(initial_deviations(space, "sigma", self.sigma)[None, None, :], log_factor)
        return sigma, (parents, log_factor.reshape(children.shape))

    def update(self, space, memory, survivors, success):
        parents, children = memory
        return jnp.concatenate([children, parents])[survivors], children

    def scale(self, space, memory, generation):
        return _times(initial_deviations(space, "sigma", self.sigma)[None, :], memory[0])


def as_schedule(schedule: Callable[[Any], Any]) -> Schedule:
    """The `Schedule` that a function of the generation stands for."""
    return schedule if isinstance(schedule, Schedule) else Schedule(_constantly, schedule=schedule)


def as_step_size(sigma: Any) -> StepSize:
    """The rule that a `sigma=` argument stands for."""
    if isinstance(sigma, StepSize):
        return sigma
    if sigma is None:
        return SelfAdaptation()
    if isinstance(sigma, type):
        raise TypeError(f"ES(sigma=...) must be a rule such as {sigma.__name__}(), got the class itself.")
    if callable(sigma):
        return as_schedule(sigma)
    return Constant(sigma)


def _check_sigma(owner: str, sigma: Any) -> None:
    jax.tree.map(lambda leaf: as_leaf(owner, "sigma", leaf, float), sigma)
    check_value(owner, "sigma", sigma, lambda v: (v > 0) & np.isfinite(v), "positive and finite")


def _held(log_factor: jax.Array) -> jax.Array:
    """Keeps the logarithm of sigma / initial sigma where sigma can come back from: 1e-19 to 1e19 in float32."""
    limit = math.log(jnp.finfo(log_factor.dtype).max) / 2
    return jnp.clip(log_factor, -limit, limit)


def _times(initial: jax.Array, log_factor: jax.Array) -> jax.Array:
    """initial * exp(log_factor), positive, and finite when multiplied by a normal number."""
    info = jnp.finfo(initial.dtype)
    return jnp.clip(initial * jnp.exp(log_factor), info.tiny, float(info.max) ** 0.5)
