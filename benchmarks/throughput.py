"""Evaluations per second of the (20, 100)-ES on Ackley, side by side in one process.

    python benchmarks/throughput.py [--quick] [--json FILE]

jaxes against what people use instead, and against the sum of its parts: drawing the normals, evaluating, top-k, each
compiled alone at the same shapes. Ratios are what to quote: absolute rates belong to a machine. Peers are skipped, by
name, where they are not installed (`pip install "jaxes[bench]"`). evosax and jaxes run with the same JAX and the same
threads; the peers without a batch run one optimisation after the other, on one core, so their rate is the same at
every batch size. They do the same number of evaluations, not the same algorithm: inspyred adapts its step sizes, and
pygmo's sea is a (20 + 1)-ES in C++.
"""

import argparse
import json
import math
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy_es

import jaxes

MU, LAM, SIGMA, WIDTH = 20, 100, 0.15, 5.0
CALLS = 20  # of a part, one after the other, for one timing


def rate(call: Callable[[], None], evaluations: int, repeats: int) -> float:
    """Evaluations per second, the best of some repeats after a first call that compiles."""
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return evaluations / min(seconds)


def jaxes_rate(dimension: int, batch: int, generations: int, repeats: int, bounded: bool = True) -> float:
    problem = jaxes.problems.ackley(dimension, half_width=WIDTH)
    space = problem.space
    options = {}
    if not bounded:
        space = jaxes.Box(-np.inf, np.inf, shape=(dimension,))
        options = {"start": np.zeros(dimension), "spread": 3.0}
    strategy = jaxes.ES(space, mu=MU, lam=LAM, sigma=SIGMA, **options)

    @jax.jit
    def runs(keys):
        return jax.vmap(lambda key: jaxes.run(strategy, problem, key, generations).fitness)(keys)

    keys = jax.random.split(jax.random.key(0), batch)
    return rate(lambda: runs(keys).block_until_ready(), batch * generations * LAM, repeats)


def parts_seconds(dimension: int, batch: int, repeats: int) -> dict[str, float]:
    """Seconds of one generation's parts, each as its own program."""
    keys = jax.random.split(jax.random.key(0), batch)
    x = jax.random.uniform(jax.random.key(1), (batch, LAM, dimension), minval=-WIDTH, maxval=WIDTH)
    problem = jaxes.problems.ackley(dimension, half_width=WIDTH)
    fitness = jax.vmap(jax.vmap(problem))(x)
    programs = {
        "normals": (jax.vmap(lambda key: jax.random.normal(key, (LAM, dimension))), keys),
        "objective": (jax.vmap(jax.vmap(problem)), x),
        "top-k": (lambda f: jaxes.operators.selection.truncation(f, MU), fitness),
    }
    seconds = {}
    for name, (program, argument) in programs.items():
        compiled = jax.jit(program).lower(argument).compile()

        def call(compiled=compiled, argument=argument):
            for _ in range(CALLS):
                out = compiled(argument)
            jax.block_until_ready(out)

        seconds[name] = 1 / rate(call, CALLS, repeats)
    return seconds


def evosax_rate(dimension: int, batch: int, generations: int, repeats: int) -> float:
    from evosax.algorithms import SimpleES

    problem = jaxes.problems.ackley(dimension, half_width=WIDTH)
    strategy = SimpleES(population_size=LAM, solution=jnp.zeros(dimension))
    strategy.elite_ratio = MU / LAM
    params = strategy.default_params.replace(std_init=SIGMA)

    @jax.jit
    def runs(keys):
        def one(key):
            start, key = jax.random.split(key)
            mean = jax.random.uniform(start, (dimension,), minval=-WIDTH, maxval=WIDTH)
            state = strategy.init(key, mean, params)

            def generation(carry, _):
                state, key = carry
                key, ask, tell = jax.random.split(key, 3)
                population, state = strategy.ask(ask, state, params)
                state, _ = strategy.tell(tell, population, jax.vmap(problem)(population), state, params)
                return (state, key), None

            (state, _), _ = jax.lax.scan(generation, (state, key), None, length=generations)
            return state.best_fitness

        return jax.vmap(one)(keys)

    keys = jax.random.split(jax.random.key(0), batch)
    return rate(lambda: runs(keys).block_until_ready(), batch * generations * LAM, repeats)


def numpy_rate(dimension: int, repeats: int) -> float:
    bounds, generations = np.array([[-WIDTH, WIDTH]] * dimension), 20

    def call():
        numpy_es.evolve(numpy_es.ackley, bounds, generations, SIGMA, MU, LAM, random=np.random.RandomState(0))

    return rate(call, generations * LAM, repeats)


def inspyred_rate(dimension: int, repeats: int) -> float:
    import inspyred

    generations = 20

    def call():
        es = inspyred.ec.ES(random.Random(0))
        es.terminator = inspyred.ec.terminators.generation_termination
        es.selector = lambda random, population, args: [parent for parent in population for _ in range(LAM // MU)]
        es.replacer = inspyred.ec.replacers.comma_replacement
        benchmark = inspyred.benchmarks.Ackley(dimension)
        es.evolve(
            generator=lambda random, args: [random.uniform(-WIDTH, WIDTH) for _ in range(dimension)],
            evaluator=benchmark.evaluator,
            pop_size=MU,
            maximize=False,
            bounder=inspyred.ec.Bounder(-WIDTH, WIDTH),
            max_generations=generations,
        )

    return rate(call, generations * LAM + MU, repeats)


def pygmo_rate(dimension: int, repeats: int) -> float:
    import pygmo

    evaluations = 200_000
    problem = pygmo.problem(pygmo.ackley(dimension))

    def call():
        algorithm = pygmo.algorithm(pygmo.sea(gen=evaluations, seed=1))
        algorithm.evolve(pygmo.population(problem, size=MU, seed=1))

    return rate(call, evaluations, repeats)


def optional(name: str, measure: Callable[[], float]) -> float | None:
    try:
        return measure()
    except ImportError:
        print(f"{name} is not installed: skipped", file=sys.stderr)
        return None


FIRST_CALL = """
import time, jaxes
problem = jaxes.problems.ackley(2, half_width=5)
begin = time.perf_counter()
strategy = jaxes.ES(problem.space, mu=20, lam=100, sigma=0.15)
float(jaxes.run(strategy, problem, 0, 1000).fitness)
print(time.perf_counter() - begin)
"""

MEMORY = """
import resource, sys, jax, jaxes
problem = jaxes.problems.ackley(2, half_width=5)
strategy = jaxes.ES(problem.space, mu=20, lam=100, sigma=0.15)
fitness = lambda key: jaxes.run(strategy, problem, key, 100).fitness
jax.jit(jax.vmap(fitness))(jax.random.split(jax.random.key(0), int(sys.argv[1]))).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def in_a_new_process(code: str, *arguments: str) -> float:
    """The number that a program prints."""
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def machine() -> dict[str, Any]:
    """What the figures of a report were measured on."""
    return {
        "platform": platform.platform(),
        "devices": [str(device) for device in jax.devices()],
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small work: checks that it runs, measures nothing")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    repeats, batches, many = (1, (1, 64), 1024) if options.quick else (5, (1, 64, 1024), 65536)

    report: dict = {
        "machine": machine(),
        "rows": [],
    }
    print(f"(20, 100)-ES on Ackley, {report['machine']['devices']}, jax {jax.__version__}")
    print("evaluations/s in millions; ratios are jaxes over the other\n")
    header = ("d", "batch", "jaxes", "/unbounded", "/limit", "/evosax", "/pygmo C++", "/inspyred", "/NumPy loop")
    print("".join(f"{word:>12}" for word in header))
    for dimension in (2, 20):
        alone = {
            "NumPy loop": numpy_rate(dimension, repeats),
            "inspyred": optional("inspyred", lambda d=dimension: inspyred_rate(d, repeats)),
            "pygmo C++": optional("pygmo", lambda d=dimension: pygmo_rate(d, repeats)),
        }
        for batch in batches:
            generations = 64 if options.quick else max(64, 64 * (3 * 2**14 // (batch * dimension) // 64))
            generations = min(generations, 6400)
            mine = jaxes_rate(dimension, batch, generations, repeats)
            unbounded = jaxes_rate(dimension, batch, generations, repeats, bounded=False)
            parts = parts_seconds(dimension, batch, repeats)
            limit = batch * LAM / sum(parts.values())
            evosax = optional("evosax", lambda d=dimension, b=batch, g=generations: evosax_rate(d, b, g, repeats))
            others = {"unbounded": unbounded, "limit": limit, "evosax": evosax, **alone}
            ratios = {name: mine / other for name, other in others.items() if other is not None}
            report["rows"].append(
                {"dimension": dimension, "batch": batch, "evaluations_per_second": {"jaxes": mine, **others}}
                | {"ratios": ratios, "parts_seconds": parts}
            )
            shown = (ratios.get(name, math.nan) for name in [word[1:] for word in header[3:]])
            print(f"{dimension:>12}{batch:>12}{mine / 1e6:>12.2f}" + "".join(f"{ratio:>12.3g}" for ratio in shown))
    report["first_call_seconds"] = in_a_new_process(FIRST_CALL)
    memory = report[f"gibibytes_of_{many}_runs"] = in_a_new_process(MEMORY, str(many))
    print(f"\nfirst call of a single run of 1,000 generations, compiling included: {report['first_call_seconds']:.2f} s")
    print(f"peak memory of a process that runs {many:,} of them at once: {memory:.2f} GiB")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
