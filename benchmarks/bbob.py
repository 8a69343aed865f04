"""The BBOB functions against COCO's C code and evosax: agreement, speed, compile time; and a whole suite against peers.

    python benchmarks/bbob.py [--quick] [--json FILE] [--dimensions 2,3,5,10,20,40]

Agreement: the largest |f - f_COCO| / max(|f_COCO|, |f_opt|) in float64 over instances 1 to 15, at points in the box, up to
1.8 times outside of it, near the optimum, and at it. (Where f and f_opt cancel, either's rounding is all there is.)

Speed: one call with 1,024 x 100 points in 20-D. cocoex computes in double precision on one core, a point a call, so jaxes is
compared in double precision, and also in single precision with evosax, given the same points in the same batch. Ratios above 1:
jaxes is faster.

Suite: evaluations per second of a whole optimiser on all 24 functions in 5-D: an ES of jaxes by `jaxes.score`, including all
compiling, against pycma's and pygmo's CMA-ES and pygmo's ES on cocoex. They do not run the same algorithm; it is the time until
one knows the scores that is compared.

Peers are skipped, by name, where they are not installed (pip install "jaxes[bench]").
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from throughput import optional, rate

import jaxes
from jaxes.problems import bbob
from jaxes.problems.coco import NAMES

FUNCTIONS = range(1, 25)


def best_of(call: Callable[[], Any], repeats: int) -> float:
    """Seconds, the least of some repeats after a first call."""
    return 1 / rate(call, 1, repeats)


def problem_of_coco(function: int, dimension: int, instance: int) -> Any:
    import cocoex

    suite = cocoex.Suite("bbob", f"instances:{instance}", f"dimensions:{dimension} function_indices:{function}")
    return suite.get_problem(0)


def disagreement(function: int, dimension: int, instances: int) -> float:
    problems = bbob(function, dimension, list(range(1, instances + 1)))
    random = np.random.RandomState(dimension)
    x = random.uniform(-5, 5, (instances, 100, dimension))
    x[:, 60:80] *= 1.8
    distances = np.repeat([1.0, 1e-2, 1e-4, 1e-6, 0.0], 4)[None, :, None]
    x[:, 80:] = problems.optimum[:, None] + distances * random.randn(instances, 20, dimension)
    ours = jax.jit(jax.vmap(lambda problem, x: jax.vmap(problem)(x)))(problems, x)
    theirs = np.array(
        [[f(row) for row in x[i]] for i in range(instances) for f in [problem_of_coco(function, dimension, i + 1)]]
    )
    size = np.maximum(np.abs(theirs), np.abs(problems.optimal_value)[:, None])
    return float((np.abs(ours - theirs) / size).max())


def seconds_of_jaxes(function: int, x: np.ndarray, repeats: int) -> tuple[float, float]:
    """Seconds to compile and to run."""
    problem, x = bbob(function, x.shape[-1], 1), jax.numpy.asarray(x)
    begin = time.perf_counter()
    program = jax.jit(lambda problem, x: jax.vmap(jax.vmap(problem))(x)).lower(problem, x).compile()
    compiled = time.perf_counter() - begin
    return compiled, best_of(lambda: program(problem, x).block_until_ready(), repeats)


def seconds_of_evosax(function: int, x: np.ndarray, repeats: int) -> float:
    from evosax.problems.bbob.bbob_fns import bbob_fns

    f, problem, d = list(bbob_fns.values())[function - 1], bbob(15, x.shape[-1], 1), x.shape[-1]
    r, q = problem.parameters.first, problem.parameters.second

    @jax.jit
    def program(x, x_opt, r, q):
        return jax.vmap(jax.vmap(lambda x: sum(f(x, x_opt, r, q, d))))(x)

    x = jax.numpy.asarray(x)
    return best_of(lambda: program(x, problem.optimum, r, q).block_until_ready(), repeats)


def seconds_of_coco(function: int, x: np.ndarray) -> float:
    problem, points = problem_of_coco(function, x.shape[-1], 1), x[0].astype(float)
    return best_of(lambda: [problem(point) for point in points], 5) * x.shape[0]


def es(space: jaxes.Box) -> jaxes.ES:
    return jaxes.ES(space, mu=15, lam=100, recombination="intermediate", sigma=jaxes.SelfAdaptation())


def suite_of_jaxes(functions: Sequence[int], instances: int, budget: int) -> float:
    """Evaluations per second, from nothing to the scores."""
    begin = time.perf_counter()
    scores = jaxes.score(es, functions=functions, instances=range(1, instances + 1), budget=budget, progress=False)
    return float(scores.evaluations.sum() / (time.perf_counter() - begin))


def suite_of_peer(run: Callable[[Any, int], None], functions: Sequence[int], budget: int) -> float:
    problems = [problem_of_coco(function, 5, 1) for function in functions]
    begin = time.perf_counter()
    for problem in problems:
        run(problem, budget * 5)
    return sum(problem.evaluations for problem in problems) / (time.perf_counter() - begin)


def pycma(problem: Any, budget: int) -> None:
    import cma

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = float(bbob(problem.id_function, problem.dimension, problem.id_instance).optimal_value) + 1e-8
        options = {"maxfevals": budget, "verbose": -9, "ftarget": target, "bounds": [-5, 5], "seed": 1}
        cma.fmin2(problem, np.zeros(problem.dimension), 2.0, options, restarts=9, bipop=True)


class Boxed:
    """A function of one point of [-5, 5]**d, as pygmo takes problems."""

    def __init__(self, function: Callable[[np.ndarray], float], d: int):
        self.function, self.d = function, d

    def __deepcopy__(self, memo):
        return self  # pygmo copies what it is given; the C problem behind it is one

    def fitness(self, x):
        return [self.function(x)]

    def get_bounds(self):
        return [-5] * self.d, [5] * self.d


def pygmo(algorithm: str) -> Callable[[Any, int], None]:
    import pygmo

    def run(problem, budget):
        size = 20
        how = {"cmaes": {"gen": budget // size - 1, "force_bounds": True}, "sea": {"gen": budget - size}}[algorithm]
        method = pygmo.algorithm(getattr(pygmo, algorithm)(seed=1, **how))
        method.evolve(pygmo.population(pygmo.problem(Boxed(problem, problem.dimension)), size=size, seed=1))

    return run


def ratio(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small work: checks that it runs, measures nothing")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--dimensions", default="2,3,5,10,20,40", help="of the agreement (default: %(default)s)")
    options = parser.parse_args()
    dimensions = [2, 5] if options.quick else [int(d) for d in options.dimensions.split(",")]
    functions = [1, 16, 21] if options.quick else FUNCTIONS
    shape = (4, 100, 20) if options.quick else (1024, 100, 20)
    report: dict = {"devices": [str(d) for d in jax.devices()], "jax": jax.__version__, "functions": [], "suite": {}}

    print("largest relative error in float64 by dimension; ratios of time; seconds to compile in float32")
    columns = [*(f"{d}-D" for d in dimensions), "cocoex", "evosax", "compile"]
    print(f"{'':>32}" + "".join(f"{column:>10}" for column in columns))
    points = np.random.RandomState(0).uniform(-5, 5, shape)
    for function in functions:
        with jax.enable_x64(True):
            errors = [optional("cocoex", lambda f=function, d=d: disagreement(f, d, 15)) for d in dimensions]
            _, double = seconds_of_jaxes(function, points, 5)
        coco = optional("cocoex", lambda f=function: seconds_of_coco(f, points))
        compiled, single = seconds_of_jaxes(function, points.astype(np.float32), 5)
        evosax = optional("evosax", lambda f=function: seconds_of_evosax(f, points.astype(np.float32), 5))
        row = {
            "function": function,
            "errors": errors,
            "over cocoex": coco and coco / double,
            "over evosax": evosax and evosax / single,
            "compile": compiled,
        }
        report["functions"].append(row)
        numbers = [*errors, row["over cocoex"], row["over evosax"], compiled]
        print(f"{f'f{function} {NAMES[function - 1]}':>32}" + "".join(map(ratio, numbers)))

    budget, instances = (20, 1) if options.quick else (10_000, 15)
    jax.config.update("jax_enable_x64", True)
    ours = suite_of_jaxes(functions, instances, budget)
    peers = {
        "pycma BIPOP-CMA-ES": lambda: suite_of_peer(pycma, functions, min(budget, 500)),
        "pygmo cmaes (C++)": lambda: suite_of_peer(pygmo("cmaes"), functions, min(budget, 500)),
        "pygmo sea (C++)": lambda: suite_of_peer(pygmo("sea"), functions, min(budget, 500)),
    }
    print(f"\nthe suite in 5-D: jaxes {ours / 1e6:.3g} M evaluations/s, all compiling included, over")
    for name, measure in peers.items():
        theirs = optional(name, measure)
        report["suite"][name] = theirs and ours / theirs
        print(f"{name:>32}{ratio(theirs and ours / theirs)}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
