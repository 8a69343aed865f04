"""A strategy on the real COCO suite, through its observer, beside the same strategy on jaxes' own BBOB functions.

    python examples/coco.py [--strategy portfolio] [--quick] [--folder .] [--dimension 5] [--budget 1000] [--functions 1 8 21]

Any strategy drives any problem that is not JAX by ask and tell. Here it is COCO's C code, whose observer writes the data
that COCO's post-processing reads: `python -m cocopp FOLDER` turns them into the tables and figures of the COCO papers. The
keys are those of `jaxes.score`, so that both columns are the same runs but for rounding.

Needs: pip install coco-experiment cocopp
"""

import argparse
import warnings
from pathlib import Path

import cocoex
import jax
import numpy as np

import jaxes
from jaxes.score import TARGETS, run_key

jax.config.update("jax_enable_x64", True)  # as COCO computes


def optimise(problem, strategy, key, budget):
    """Runs a strategy on a cocoex problem; (targets,) evaluations until each was reached, NaN where none was."""
    optimum = jaxes.problems.bbob(problem.id_function, problem.dimension, problem.id_instance).optimal_value
    hits, best = np.full(len(TARGETS), np.nan), np.inf
    state = strategy.init(key)
    while not problem.final_target_hit:
        stage = strategy.current(state)  # of a strategy with restarts, the one whose turn it is; else the strategy itself
        due = int(stage.due(state))
        if problem.evaluations + due > budget:
            break
        population, state = stage.ask(state)
        fitness = np.full(stage.population_size, np.inf)
        for i, x in enumerate(np.asarray(population)[:due]):
            fitness[i] = problem(x)
            if fitness[i] < best:
                best = fitness[i]
                hits[np.isnan(hits) & (best - optimum <= TARGETS)] = problem.evaluations
        state = stage.tell(state, population, fitness)
    return hits


MAKERS = {
    "es": lambda space: jaxes.ES(space, mu=5, lam=35, recombination="intermediate", sigma=jaxes.SelfAdaptation()),
    "cmaes": jaxes.CMAES,
    "bipop": lambda space: jaxes.Restart(jaxes.CMAES(space)),
    "portfolio": jaxes.Portfolio,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three functions, two instances, a small budget")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where the observer writes")
    parser.add_argument("--dimension", type=int, default=5)
    parser.add_argument("--budget", type=int, default=1000, help="evaluations of a run, times the dimension")
    parser.add_argument("--strategy", choices=MAKERS, default="es")
    parser.add_argument("--functions", type=int, nargs="+", default=range(1, 25))
    options = parser.parse_args()
    functions, instances, budget = options.functions, range(1, 16), options.budget
    if options.quick:
        functions, instances, budget = [1, 8, 21], [1, 2], 100

    make = MAKERS[options.strategy]
    strategy = make(jaxes.Box(-5.0, 5.0, shape=(options.dimension,)))
    choice = f"dimensions:{options.dimension} function_indices:{','.join(map(str, functions))}"
    suite = cocoex.Suite("bbob", f"instances:{','.join(map(str, instances))}", choice)
    observer = cocoex.Observer(
        "bbob", f"outer_folder: {options.folder / 'exdata'} result_folder: jaxes algorithm_name: jaxes-{options.strategy}"
    )
    hits = {}
    for problem in suite:
        problem.observe_with(observer)
        key = run_key(jax.random.key(0), problem.id_function, problem.id_instance)
        hits[problem.id_function, problem.id_instance] = optimise(problem, strategy, key, budget * options.dimension)

    ours = jaxes.score(make, dimension=options.dimension, functions=functions, instances=instances, budget=budget)
    print("share of the targets that were reached")
    print(f"{'function':>32}   COCO  jaxes")
    rows = zip(functions, ours.problems, ours.hits, strict=True)
    real = {f: np.array([hits[f, instance] for instance in instances]) for f in functions}
    for function, name, mine in rows:
        print(f"{name:>32}  {reached(real[function]):.3f}  {reached(mine):.3f}")
    print(f"{'all':>32}  {reached(np.array(list(real.values()))):.3f}  {ours.share():.3f}")
    same = np.mean([np.array_equal(real[f], mine, equal_nan=True) for f, mine in zip(functions, ours.hits, strict=True)])
    print(f"functions with the same evaluations to every target: {same:.0%}")
    read_back(observer.result_folder, ours.dimension, real)
    print(f"python -m cocopp {observer.result_folder} draws the tables and figures of the COCO papers")


def read_back(folder, dimension, real):
    """COCO's post-processing reads what its observer wrote, and finds the expected runtimes that we counted."""
    with warnings.catch_warnings():  # few instances in a quick run, no network
        warnings.simplefilter("ignore")
        import cocopp
        from cocopp.pproc import DataSetList

        cocopp.genericsettings.verbose = False
        data = DataSetList([folder])
    spent = {(d.funcId, d.dim): d for d in data}
    for function, hits in real.items():
        found = spent[function, dimension]
        reached_all = [t for t, count in zip(TARGETS, (~np.isnan(hits)).sum(0), strict=True) if count == len(hits)]
        if reached_all:  # without a failure, the expected runtime is the mean
            target, mean = reached_all[-1], np.mean(hits[:, TARGETS.index(reached_all[-1])])
            theirs = found.detERT([target * (1 + 1e-6)])[0]  # the targets in the files are rounded
            print(f"f{function}: {mean:g} evaluations to {target:.1e}, cocopp: {theirs:g}")


def reached(hits):
    return float((~np.isnan(hits)).mean())


if __name__ == "__main__":
    main()
