"""How sigma and mu shape an ES: a heat map over 1,000 runs and more.

    python examples/sweep.py [--quick] [--folder .]

Ten step sizes times five numbers of parents times 20 repeats on the Rastrigin function. All step sizes share one
program; every mu needs its own, because it changes shapes. Small steps get caught in the nearest local optimum, large
ones find the right valley but cannot settle in it: the best constant sigma is a compromise. The default strategy of
`minimize`, which adapts its step sizes, is shown beside it.
"""

import argparse
from pathlib import Path

import numpy as np

import jaxes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller grid")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where to save the picture")
    options = parser.parse_args()
    sizes, repeats, generations = (4, 5, 50) if options.quick else (10, 20, 500)

    problem = jaxes.problems.rastrigin(dimension=5)
    strategy = jaxes.ES(problem.space, mu=10, lam=100, sigma=0.3)
    over = {"mu": [1, 5, 10, 20, 50], "sigma": np.geomspace(0.02, 2.0, sizes)}
    result = jaxes.sweep(strategy, problem, 0, generations, over=over, repeats=repeats, stop={"target": 1.0})
    print(f"{result.runs.fitness.size} runs")
    print(result.table())
    settings, runs = result.best()
    print(f"\nbest constant setting {settings}: {runs}")
    result.plot(options.folder / "sweep.png")

    default = jaxes.minimize(problem, generations=generations, runs=repeats)
    print(f"self-adaptive, without any setting: {default}")


if __name__ == "__main__":
    main()
