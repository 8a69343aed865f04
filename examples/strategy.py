"""A strategy of one's own: the (1+1)-ES with the success rule, in some thirty lines, as fast and as batched as the others.

    python examples/strategy.py [--quick]

A parent has one child, which takes its place unless it is worse. The step size grows with every success and falls otherwise,
so that it stays where one child in five succeeds (Kern et al. 2004, Learning probability distributions in continuous
evolutionary algorithms, Figure 2).
"""

import argparse
import dataclasses
from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

import jaxes
from jaxes.pytree import pytree
from jaxes.strategy import Purpose, stream


@pytree
class OnePlusOneState(jaxes.State):
    parent: jax.Array  # (d,)
    parent_fitness: jax.Array  # ()
    sigma: jax.Array  # ()


@pytree
class OnePlusOne(jaxes.Strategy):
    space: jaxes.Box
    _: KW_ONLY
    sigma: float = 1.0  # a leaf: it can be swept, and changed without a new program

    @property
    def population_size(self):
        return 1

    def _init(self, state):
        lower, upper = self.space.bounds()
        parent = jax.random.uniform(stream(state, Purpose.RECOMBINE), lower.shape, lower.dtype, lower, upper)
        sigma = jnp.asarray(self.sigma, lower.dtype)
        return OnePlusOneState(**vars(state), parent=parent, parent_fitness=state.best_fitness, sigma=sigma)

    def _ask(self, state):
        z = jax.random.normal(stream(state, Purpose.SAMPLE), state.parent.shape, state.parent.dtype)
        return jnp.clip(state.parent + state.sigma * z, *self.space.bounds())[None, :], state

    def _tell(self, state, x, fitness):
        success = fitness[0] <= state.parent_fitness
        rate = jnp.where(success, 1.0, -0.25) / jnp.sqrt(1 + state.parent.shape[0])
        return dataclasses.replace(
            state,
            parent=jnp.where(success, x[0], state.parent),
            parent_fitness=jnp.minimum(fitness[0], state.parent_fitness),
            sigma=state.sigma * jnp.exp(rate),
        )

    def step_size(self, state):
        return state.sigma


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run")
    generations, runs = (300, 8) if parser.parse_args().quick else (20_000, 256)
    space = jaxes.Box(-2.0, 2.0, shape=4)
    own = OnePlusOne(space)
    print("alone:    ", jaxes.minimize(rosenbrock, strategy=own, generations=generations))
    print("a batch:  ", jaxes.minimize(rosenbrock, strategy=own, generations=generations, runs=runs))
    restarting = jaxes.Restart(own, policy="plain", most=200)
    print("restarted:", jaxes.minimize(rosenbrock, strategy=restarting, generations=generations))
    print(jaxes.sweep(own, rosenbrock, 0, generations, over={"sigma": [0.01, 0.1, 1.0]}, repeats=runs).table())


if __name__ == "__main__":
    main()
