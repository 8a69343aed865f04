"""Evaluations of CMA-ES to an optimum on the boundary: jaxes' bound handlers against pycma's and cmaes'.

    python benchmarks/bounds.py [--quick]

Three problems in [-5, 5]**d: a sphere whose optimum lies beyond all upper bounds, a linear slope, and an ellipsoid of condition
1e4 whose centre lies beyond half of the upper bounds. All optimisers have the default population, start at uniform points of
[-4, 4]**d with sigma 2 in double precision, and stop at a gap of 1e-8 or after 1,000 d evaluations. Medians over 255, 63 and 15
runs in 2, 10 and 40 dimensions; one of runs that did not end is shown as "-". Needs cma and cmaes (pip install "jaxes[bench]").
"""

import argparse
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxes
from jaxes import CMAES, Box, Clip, Reflect, Resample, Smooth

jax.config.update("jax_enable_x64", True)
HANDLERS = {"Resample": Resample(), "Clip": Clip(), "Smooth": Smooth(), "Reflect": Reflect()}  # the first is the default


def problems(d: int) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Weights and centre of a quadratic function, or the slopes of a linear one."""
    ramp = np.arange(d) / max(d - 1, 1)
    half = np.where(np.arange(d) % 2 == 0, 7.0, 0.5)
    return {"sphere": (np.ones(d), np.full(d, 7.0)), "slope": (10**ramp, None), "ellipsoid": (1e4**ramp, half)}


def gap(xp, weights, centre):
    if centre is None:
        return lambda x: xp.sum(weights * (5 - x))
    best = xp.minimum(centre, 5.0)
    # w (x - c)**2 - w (b - c)**2 without the difference of squares
    return lambda x: xp.sum(weights * (x - best) * (x + best - 2 * centre))


def ours(bounds, d: int, f: Callable, starts: np.ndarray, budget: int) -> float:
    strategy = CMAES(Box(-5.0, 5.0, shape=d), sigma=2.0, start=starts[0], bounds=bounds)
    generations = budget // strategy.population_size

    @jax.jit
    def hits(start, key):
        return jaxes.run(
            CMAES(strategy.space, sigma=2.0, start=start, bounds=bounds),
            f,
            key,
            generations,
            targets=[1e-8],
            stop=jaxes.Stop(target=1e-8, converged=False),
        ).hits[0]

    found = np.asarray(jax.vmap(hits)(starts, jax.random.split(jax.random.key(0), len(starts))), float)
    return float(np.median(np.where(found > 0, found, np.inf)))


def pycma(handler: str, d: int, f: Callable, starts: np.ndarray, budget: int) -> float:
    import cma

    found = []
    for seed, start in enumerate(starts):
        options = {
            "bounds": [-5, 5],
            "BoundaryHandler": getattr(cma.boundary_handler, handler),
            "verbose": -9,
            "seed": seed + 1,
        }
        es = cma.CMAEvolutionStrategy(start, 2.0, options)
        spent, reached = 0, np.inf
        while spent < budget and not np.isfinite(reached):
            population = es.ask()
            fitness = [float(f(np.clip(x, -5, 5))) for x in population]
            below = np.flatnonzero(np.asarray(fitness) <= 1e-8)
            if below.size:
                reached = spent + below[0] + 1
            spent += len(population)
            es.tell(population, fitness)
        found.append(reached)
    return float(np.median(found))


def cmaes_package(d: int, f: Callable, starts: np.ndarray, budget: int) -> float:
    import cmaes

    found = []
    for seed, start in enumerate(starts):
        es = cmaes.CMA(mean=start, sigma=2.0, bounds=np.array([[-5.0, 5.0]] * d), seed=seed)
        spent, reached = 0, np.inf
        while spent < budget and not np.isfinite(reached):
            told = []
            for _ in range(es.population_size):
                x = es.ask()
                spent += 1
                told.append((x, float(f(x))))
                if told[-1][1] <= 1e-8:
                    reached = min(reached, spent)
            es.tell(told)
        found.append(reached)
    return float(np.median(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small work: checks that it runs, measures nothing")
    options = parser.parse_args()
    runs_in = {2: 3} if options.quick else {2: 255, 10: 63, 40: 15}
    peers = ["BoundTransform", "BoundPenalty", "cmaes"]
    print(f"{'':>16}" + "".join(f"{name:>16}" for name in [*HANDLERS, *peers, "default / best"]))
    for d, runs in runs_in.items():
        budget = 1000 * d
        starts = np.random.RandomState(d).uniform(-4, 4, (runs, d))
        for name, (weights, centre) in problems(d).items():
            f = gap(jnp, weights, centre)
            mine = {label: ours(handler, d, f, starts, budget) for label, handler in HANDLERS.items()}
            g = gap(np, weights, centre)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = [pycma(handler, d, g, starts, budget) for handler in peers[:2]]
                theirs.append(cmaes_package(d, g, starts, budget))
            ratio = mine["Resample"] / min(theirs)
            shown = [f"{v:.0f}" if np.isfinite(v) else "-" for v in (*mine.values(), *theirs)]
            print(f"{f'{name} {d}-D':>16}" + "".join(f"{text:>16}" for text in shown) + f"{ratio:>16.2f}", flush=True)


if __name__ == "__main__":
    main()
