"""The classic test functions, in any dimension, with box, optimum and optimal value as in the literature.

Written so that float32 resolves the gap to the optimum where arithmetic allows it: 1 - cos(a) is 2 sin(a/2)**2, and
exp(a) - 1 is expm1(a). Boxes and optima: Surjanovic & Bingham, Virtual Library of Simulation Experiments; first
sources at each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import check_integer
from jaxes.problems.problem import Problem
from jaxes.space import Box


def _problem(function: Callable, dimension: int, half_width: float, optimum: float, value: float = 0.0, at_least: int = 1):
    name = function.__name__.lstrip("_")
    dimension = check_integer(name, "dimension", dimension, at_least)
    space = Box(-half_width, half_width, shape=(dimension,))
    best = np.full(dimension, optimum, space.dtype)
    return Problem(function, space, best, np.asarray(value, space.dtype), name)


def _ackley(x: jax.Array) -> jax.Array:
    distance = jnp.sqrt(jnp.mean(x * x))
    ripple = jnp.mean(jnp.square(jnp.sin(math.pi * x)))
    return -20 * jnp.expm1(-0.2 * distance) - math.e * jnp.expm1(-2 * ripple)


def ackley(dimension: int = 2, half_width: float = 32.768) -> Problem:
    """Ackley (1987): a funnel with a regular grid of local optima. Optimum 0 at the origin; box usually +-32.768 or +-5."""
    return _problem(_ackley, dimension, half_width, 0.0)


def _griewank(x: jax.Array) -> jax.Array:
    root = np.sqrt(np.arange(1, x.shape[0] + 1)).astype(x.dtype)
    return jnp.sum(x * x) / 4000 + (1 - jnp.prod(jnp.cos(x / root)))


def griewank(dimension: int = 2) -> Problem:
    """Griewank (1981): a bowl with many shallow local optima. Optimum 0 at the origin; box +-600."""
    return _problem(_griewank, dimension, 600.0, 0.0)


def _rastrigin(x: jax.Array) -> jax.Array:
    return jnp.sum(x * x + 20 * jnp.square(jnp.sin(math.pi * x)))


def rastrigin(dimension: int = 2) -> Problem:
    """Rastrigin (1974): a bowl with 10**d deep local optima. Optimum 0 at the origin; box +-5.12."""
    return _problem(_rastrigin, dimension, 5.12, 0.0)


def _rosenbrock(x: jax.Array) -> jax.Array:
    return jnp.sum(100 * jnp.square(x[1:] - x[:-1] * x[:-1]) + jnp.square(1 - x[:-1]))


def rosenbrock(dimension: int = 2) -> Problem:
    """Rosenbrock (1960): a long curved valley. Optimum 0 at (1, ..., 1); box +-2.048; at least two dimensions."""
    return _problem(_rosenbrock, dimension, 2.048, 1.0, at_least=2)


def _schwefel(x: jax.Array) -> jax.Array:
    return jnp.sum(418.9828872724338 - x * jnp.sin(jnp.sqrt(jnp.abs(x))))


def schwefel(dimension: int = 2) -> Problem:
    """Schwefel (1981), 2.26: the second best optimum is far from the best. Optimum 0 at 420.9687...; box +-500.

    Subtracting 418.98 leaves a resolution of 3e-5 per dimension in float32.
    """
    return _problem(_schwefel, dimension, 500.0, 420.968746359982)


def _sphere(x: jax.Array) -> jax.Array:
    return jnp.sum(x * x)


def sphere(dimension: int = 2) -> Problem:
    """The sum of squares. Optimum 0 at the origin; box +-5.12."""
    return _problem(_sphere, dimension, 5.12, 0.0)
