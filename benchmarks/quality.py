"""Shares of the BBOB suite's targets that jaxes' restarts and portfolio reach, and those of pycma, pygmo and evosax.

    python benchmarks/quality.py [--quick] [--dimension 5] [--functions 1-24] [--repeats 1] [--only NAMES] [--json FILE]

Instances 1 to 15, 5,000 d evaluations a run, 51 targets from 1e2 to 1e-8, double precision. All begin at uniform points of
[-5, 5]**d, and again from elsewhere whenever a run has ended with evaluations left. jaxes runs its own functions, which are
COCO's to the last digits that matter (benchmarks/bbob.py); the peers run COCO's C code. A share comes with its standard error
over the runs of each function, which says what other seeds would change, not other functions.

Peers are skipped, by name, where they are not installed (pip install "jaxes[bench]").
"""

import argparse
import contextlib
import functools
import json
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from bbob import Boxed, problem_of_coco
from throughput import optional

import jaxes
from jaxes.problems import bbob
from jaxes.problems.coco import GROUPS
from jaxes.score import TARGETS

jax.config.update("jax_enable_x64", True)

OURS = {"portfolio": jaxes.Portfolio, "bipop": lambda space: jaxes.Restart(jaxes.CMAES(space))}


class Over(Exception):
    """A run has reached the last target, or has spent its budget."""


class Gap:
    """A function of COCO less its optimal value, which remembers the least, until the run is over."""

    def __init__(self, function: int, d: int, instance: int, budget: int):
        self.problem = problem_of_coco(function, d, instance)
        self.optimal_value = float(bbob(function, d, instance).optimal_value)
        self.d, self.budget, self.least = d, budget, math.inf

    def __call__(self, x: np.ndarray) -> float:
        gap = self.problem(x) - self.optimal_value
        self.least = min(self.least, gap)
        if self.least <= TARGETS[-1] or self.problem.evaluations >= self.budget:
            raise Over
        return gap


def pycma(gap: Gap, seed: int) -> None:
    import cma

    random = np.random.RandomState(seed)
    np.random.seed(seed)  # noqa: NPY002, pycma chooses the sizes of small populations with it
    options = {"maxfevals": gap.budget, "verbose": -9, "verb_log": 0, "verb_disp": 0, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cma.fmin2(gap, lambda: random.uniform(-5, 5, gap.d), 2.0, options, restarts=9, bipop=True)


def pygmo(algorithm: str) -> Callable[[Gap, int], None]:
    import pygmo

    def run(gap, seed):
        size = 20 if algorithm == "de1220" else 4 + int(3 * math.log(gap.d))
        how = {} if algorithm == "de1220" else {"force_bounds": True}
        while True:  # until it is over
            method = getattr(pygmo, algorithm)(gen=gap.budget, ftol=1e-11, xtol=1e-11, seed=seed, **how)
            pygmo.algorithm(method).evolve(pygmo.population(pygmo.problem(Boxed(gap, gap.d)), size=size, seed=seed))
            seed += 1

    return run


@functools.cache
def evosax_programs(d: int) -> tuple[Callable, Callable, Callable]:
    from evosax.algorithms import CMA_ES

    strategy = CMA_ES(population_size=4 + int(3 * math.log(d)), solution=jax.numpy.zeros(d))
    params = strategy.default_params.replace(std_init=2.0)
    init = jax.jit(lambda key, mean: strategy.init(key, mean, params))
    ask = jax.jit(lambda key, state: strategy.ask(key, state, params))
    tell = jax.jit(lambda key, x, fitness, state: strategy.tell(key, x, fitness, state, params)[0])
    return init, ask, tell


def evosax(gap: Gap, seed: int) -> None:
    """CMA-ES, begun anew where a generation differs by less than 1e-11, or is no number."""
    init, ask, tell = evosax_programs(gap.d)
    random, key = np.random.RandomState(seed), jax.random.key(seed)
    while True:
        key, first = jax.random.split(key)
        state, spread = init(first, random.uniform(-5, 5, gap.d)), math.inf
        while spread > 1e-11:
            key, *two = jax.random.split(key, 3)
            population, state = ask(two[0], state)
            fitness = np.array([gap(x) for x in np.asarray(population)])
            state = tell(two[1], population, fitness, state)
            spread = np.ptp(fitness)  # NaN ends it, too


PEERS: dict[str, Callable[[], Callable[[Gap, int], None]]] = {
    "pycma bipop": lambda: pycma,
    "pygmo de1220": lambda: pygmo("de1220"),
    "pygmo cmaes": lambda: pygmo("cmaes"),
    "pygmo xnes": lambda: pygmo("xnes"),
    "evosax cmaes": lambda: evosax,
}


def shares_of_jaxes(make: Callable, functions: Sequence[int], instances: int, d: int, budget: int, repeats: int) -> np.ndarray:
    """(functions, runs) the share of targets that each run reached."""
    options = {"functions": functions, "instances": range(1, instances + 1), "dimension": d, "budget": budget}
    scores = jaxes.score(make, **options, repeats=repeats)
    if len(scores.hits) < len(functions):  # after Ctrl-C, those that were finished
        raise KeyboardInterrupt
    return np.mean(np.isfinite(scores.hits), axis=2)


def shares_of_peer(run: Callable, functions: Sequence[int], instances: int, d: int, budget: int, repeats: int) -> np.ndarray:
    shares = np.zeros((len(functions), repeats * instances))
    for row, function in zip(shares, functions, strict=True):
        for i in range(len(row)):
            gap = Gap(function, d, 1 + i % instances, budget * d)
            with contextlib.suppress(Over):
                run(gap, 1_000_000 * (i // instances) + 1000 * function + i % instances + 1)
            row[i] = np.mean(gap.least <= np.asarray(TARGETS))
    return shares


def numbers(text: str) -> list[int]:
    """1-3,7 -> 1, 2, 3, 7"""
    ends = [part.split("-") for part in text.split(",")]
    return [number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small work: checks that it runs, measures nothing")
    parser.add_argument("--dimension", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--functions", default="1-24", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=1, help="of each instance (default: %(default)s)")
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join([*OURS, *PEERS])}")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    functions = [1, 21] if options.quick else numbers(options.functions)
    instances, budget, d = (2, 100, 2) if options.quick else (15, 5000, options.dimension)
    chosen = options.only.split(",") if options.only else ["bipop", *PEERS] if options.quick else [*OURS, *PEERS]
    groups = {group: [i for i, f in enumerate(functions) if f in members] for group, members in GROUPS.items()}
    groups = {group: rows for group, rows in groups.items() if rows}
    work: Any = (functions, instances, d, budget, options.repeats)
    report: dict = {"dimension": d, "functions": functions, "shares": {}}
    print(f"shares of targets in {d}-D, {instances * options.repeats} runs of each of {len(functions)} functions")
    print(f"{'':>14}{'all':>18}" + "".join(f"{group:>17}" for group in groups))
    for name in chosen:
        if name in OURS:
            shares = shares_of_jaxes(OURS[name], *work)
        else:
            shares = optional(name, lambda name=name: shares_of_peer(PEERS[name](), *work))
        if shares is None:
            continue
        error = math.sqrt(np.sum(shares.var(axis=1, ddof=1) / shares.shape[1])) / len(shares)
        report["shares"][name] = shares.tolist()
        print(
            f"{name:>14}{shares.mean():>9.4f} +- {error:.4f}" + "".join(f"{shares[g].mean():>17.3f}" for g in groups.values())
        )
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
