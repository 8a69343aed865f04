"""The classic ES tutorial, reproduced: (20, 100)- and (20 + 100)-ES on the Ackley function in two dimensions.

    python examples/tutorial.py [--quick] [--folder .]

Shows the surface that is searched, runs both strategies for 5,000 generations as the tutorial does, and lists every
improvement of the best so far. Then it does what the tutorial's loop cannot: 1,024 runs at once, to see how much of a
single run's result was luck.
"""

import argparse
from pathlib import Path

import numpy as np

import jaxes


def improvements(result):
    """(generation, fitness) whenever the best so far got better; generation counts from 0 as in the tutorial."""
    best = np.asarray(result.history.best)
    better = np.flatnonzero(np.diff(best, prepend=np.inf) < 0)
    return [(int(i), float(best[i])) for i in better]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer generations and runs")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where to save the pictures")
    options = parser.parse_args()
    generations, runs = (300, 64) if options.quick else (5000, 1024)

    problem = jaxes.problems.ackley(dimension=2, half_width=5)
    jaxes.analysis.plot_landscape(problem, options.folder / "ackley.png")

    compared = {}
    for selection in ("comma", "plus"):
        strategy = jaxes.ES(problem.space, mu=20, lam=100, sigma=0.15, selection=selection)

        # One run, followed in every generation.
        result = jaxes.run(strategy, problem, 1, generations, history=True)
        print(f"\n{selection} selection: {result.message()}")
        for generation, fitness in improvements(result):
            print(f"  generation {generation:4d}  best fitness {fitness:.6f}")
        print(f"  f({np.asarray(result.solution)}) = {float(result.fitness):.6f}")

        # Many runs, in one program.
        compared[f"(20{', ' if selection == 'comma' else ' + '}100)-ES"] = jaxes.minimize(
            problem, strategy=strategy, generations=generations, runs=runs
        )
    for name, result in compared.items():
        print(f"\n{name}, {runs} runs\n{result.table(target=0.01)}")
    jaxes.analysis.plot_convergence(compared, options.folder / "tutorial.png", title="Ackley, 2-D")


if __name__ == "__main__":
    main()
