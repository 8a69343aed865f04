"""Makes tests/data/cocopp.npz: an experiment on COCO's test functions, assessed by COCO's own software, for test_runtime.py.

    pip install cocopp==2.9.1 coco-experiment==2.8.2 cma==4.5.0 six
    python tests/make_cocopp_data.py            # a minute

Two CMA-ES with different population sizes and pure random search run on four functions of the bbob suite in dimension 5, with
15 instances each. The logged runs are then read by `cocopp`, and what it says of them is stored beside them.
"""

import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import cma
import cocoex
import numpy as np

warnings.filterwarnings("ignore")
import cocopp  # noqa: E402, warns on import
from cocopp import toolsstats  # noqa: E402, as above

DIMENSION, INSTANCES = 5, 15
FUNCTIONS = {1: "f1 sphere", 3: "f3 Rastrigin", 8: "f8 Rosenbrock", 21: "f21 Gallagher 101"}
GROUPS = ("separable", "separable", "moderate", "weak structure")
TARGETS = 10.0 ** np.linspace(2, -8, 51)
TABLE = [10, 1, 1e-1, 1e-2, 1e-3, 1e-5, 1e-7]
BUDGETS = [1, 3, 10, 30, 100, 300, 1000, 3000]  # evaluations / dimension
SAMPLES = INSTANCES * 2000
QUANTILES = [0.1, 0.5, 0.9]


def cma_es(population):
    def minimize(problem, seed):
        options = {"popsize": population, "seed": seed, "verbose": -9, "maxfevals": 4000}
        es = cma.CMAEvolutionStrategy(np.random.RandomState(seed).uniform(-4, 4, DIMENSION), 2, options)
        while not es.stop() and not problem.final_target_hit:
            x = es.ask()
            es.tell(x, [problem(one) for one in x])

    return minimize


def random_search(problem, seed):
    random = np.random.RandomState(seed)
    for _ in range(2000):
        problem(random.uniform(-5, 5, DIMENSION))


STRATEGIES = {"CMA-ES 8": cma_es(8), "CMA-ES 40": cma_es(40), "random search": random_search}


def experiment(name, folder):
    """The runs of a strategy, logged by COCO: function -> DataSet."""
    functions = ",".join(map(str, FUNCTIONS))
    options = f"dimensions: {DIMENSION} function_indices: {functions} instance_indices: 1-{INSTANCES}"
    suite = cocoex.Suite("bbob", "", options)
    observer = cocoex.Observer("bbob", f"result_folder: {folder} algorithm_name: {folder}")
    for seed, problem in enumerate(suite, start=1):
        problem.observe_with(observer)
        STRATEGIES[name](problem, seed)
        problem.free()
    sets = cocopp.load(str(Path("exdata", folder)))
    return {one.funcId: one for one in sets}


def runs(sets):
    """hits (problems, runs, targets), evaluations (problems, runs)."""
    hits = [np.array(sets[function].detEvals(TARGETS)).T for function in FUNCTIONS]
    return np.array(hits), np.array([sets[function].maxevals for function in FUNCTIONS])


def restarts(one):
    """(targets, samples) runtimes with simulated restarts of one function, infinite where no run reached the target."""
    simulated = []
    for runtimes in one.detEvals(TARGETS):
        missed = np.isnan(runtimes)
        drawn = None if missed.all() else toolsstats.drawSP(runtimes[~missed], one.maxevals[missed], [50], SAMPLES)[1]
        simulated.append(np.full(SAMPLES, np.inf) if drawn is None else drawn)
    return np.array(simulated)


def assessed(sets):
    """What cocopp says of the runs."""
    simulated = np.array([restarts(sets[function]) for function in FUNCTIONS])
    return {
        "expected": np.array([sets[function].detERT(TARGETS) for function in FUNCTIONS]),
        "quantiles": np.moveaxis(np.quantile(simulated, QUANTILES, axis=-1, method="nearest"), 0, -1),
        "ecdf": np.searchsorted(np.sort(simulated, axis=None) / DIMENSION, BUDGETS, side="right") / simulated.size,
    }


def tests(first, second):
    """(problems, targets, 2): z and p, as COCO's tables test."""
    return np.array([toolsstats.significancetest(first[function], second[function], TABLE) for function in FUNCTIONS])


if __name__ == "__main__":
    out = Path(__file__).resolve().parent / "data" / "cocopp.npz"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sets = [experiment(name, f"strategy{i}") for i, name in enumerate(STRATEGIES)]
        np.random.seed(1)  # noqa: NPY002 (cocopp draws from it)
        hits, evaluations = zip(*map(runs, sets), strict=True)
        says = [assessed(one) for one in sets]
        data = {
            "versions": [f"{package} {version(package)}" for package in ("cocopp", "coco-experiment", "cma", "numpy")],
            "strategies": list(STRATEGIES),
            "dimension": DIMENSION,
            "problems": list(FUNCTIONS.values()),
            "groups": GROUPS,
            "targets": TARGETS,
            "hits": hits,
            "evaluations": evaluations,
            "budgets": BUDGETS,
            "samples": SAMPLES,
            "levels": QUANTILES,
            "table_targets": TABLE,
            "tests": [tests(sets[a], sets[b]) for a, b in ((0, 1), (0, 2), (1, 2))],
        } | {name: [one[name] for one in says] for name in says[0]}
        os.chdir(out.parent)
    np.savez_compressed(out, **data)
