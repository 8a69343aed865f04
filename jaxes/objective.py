"""What is minimised: one convention inside, whichever way the user writes it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import describe
from jaxes.devices import shared_evaluation
from jaxes.pytree import pytree, static
from jaxes.space import Space


@pytree
class Objective:
    """A user's function and how it is to be called.

    A function is static: the same one is the same program. A callable pytree (a `Problem`, a module with parameters) is
    a leaf or more: another instance of the same structure is the same program.
    """

    value: Any
    function: Callable[..., Any] | None = static(default=None)
    batched: bool = static(default=False)
    stochastic: bool = static(default=False)
    maximise: bool = static(default=False)
    along: tuple[str, ...] | None = static(default=None)  # axes of a mesh, whose devices each evaluate some of the candidates

    def fitness(self, space: Space, x: jax.Array, key: jax.Array, args: Any) -> jax.Array:
        """To be minimised (n,), of flat candidates (n, d). `key` is used by stochastic objectives alone."""
        return self.sign(self.measure(space, x, key, args))

    def measure(self, space: Space, x: jax.Array, key: jax.Array, args: Any) -> jax.Array:
        """What the user's function returns (n,)."""
        function = self.value if self.function is None else self.function
        more = () if args is None else (args,)
        solutions = jax.vmap(space.decode)(x)
        if self.batched:
            return function(solutions, *more, *((key,) if self.stochastic else ()))
        keys = jax.random.split(key, x.shape[0]) if self.stochastic else None

        def evaluated(given):
            return jax.vmap(lambda solution, k: function(solution, *more, *(() if k is None else (k,))))(*given)

        if self.along is not None:
            return shared_evaluation(self.along, evaluated, (solutions, keys), x.shape[0])
        return evaluated((solutions, keys))

    def sign(self, fitness: Any) -> Any:
        """From inside to the user's fitness, or back."""
        return -fitness if self.maximise else fitness


def as_objective(objective: Any, *, batched: bool = False, stochastic: bool = False, maximise: bool = False) -> Objective:
    """The objective behind what the user gave. TypeError if it cannot be called."""
    if isinstance(objective, Objective):
        return objective
    if not callable(objective):
        raise TypeError(f"objective must be a function of one solution, got {objective!r}.")
    options: dict[str, Any] = {"batched": batched, "stochastic": stochastic, "maximise": maximise}
    for name, value in options.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be True or False, got {value!r}.")
        options[name] = bool(value)
    if jax.tree_util.all_leaves([objective]):
        return Objective(None, as_static(objective), **options)
    return Objective(objective, **options)


def as_static(function: Any) -> Any:
    """The function as JAX takes it for a part of the program: hashable; by identity if it is not by value."""
    try:
        hash(function)
    except TypeError:
        return functools.partial(function)
    return function


def check_objective(objective: Objective, space: Space, population_size: int, args: Any) -> None:
    """Traces the objective once and refuses what is not one floating fitness per solution."""
    x = jax.ShapeDtypeStruct((population_size, space.dimension), space.dtype)
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        fitness = jax.eval_shape(objective.measure, space, x, key, args)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise TypeError(
            "objective could not be compiled: it needs concrete numbers (Python `if` or `float` on an array, or NumPy) where "
            "JAX has none yet. Write it in jax.numpy, or call jaxes.minimize(..., host=True)."
        ) from error
    except TypeError as error:
        if "positional argument" not in str(error):
            raise
        given = ["the solution", "args"][: 2 if args is not None else 1] + ["a key"] * objective.stochastic
        raise TypeError(f"objective is called with {len(given)} argument(s), {', '.join(given)}: {error}.") from error
    expected = (population_size,)
    leaves = jax.tree.leaves(fitness)
    if len(leaves) != 1 or leaves[0] is not fitness or fitness.shape != expected:
        got = describe(fitness)
        if objective.batched:
            raise ValueError(f"objective with batched=True must return shape {expected} = (population_size,), got {got}.")
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), fitness)
        raise ValueError(f"objective must return one number, a scalar of shape (), got shape {describe(one)}.")
    if not jnp.issubdtype(fitness.dtype, jnp.floating):
        raise TypeError(f"objective must return a floating number, got dtype {np.dtype(fitness.dtype).name}.")
