"""Makes tests/data/tutorial.npz: best-so-far of 1,000 runs of the plain NumPy loop, for test_tutorial.py.

    python tests/make_tutorial_data.py          # minutes on many cores, half an hour on one

Run i of a case is `numpy_es.evolve` with `RandomState(i)`, so any run can be made again alone.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import numpy_es

CHECKPOINTS = (1, 10, 50, 200)
RUNS = 1000


def corner(x):
    return float(np.abs(x - 5.0).sum())


PROBLEMS = {
    "ackley": {"objective": numpy_es.ackley, "dimension": 2, "sigma": 0.15, "mu": 20, "lam": 100},
    "corner": {"objective": corner, "dimension": 5, "sigma": 0.5, "mu": 5, "lam": 20},
}


def one(problem: str, plus: bool, seed: int) -> list[float]:
    case = PROBLEMS[problem]
    bounds = np.array([[-5.0, 5.0]] * case["dimension"])
    _, progress, _ = numpy_es.evolve(
        case["objective"],
        bounds,
        CHECKPOINTS[-1],
        case["sigma"],
        case["mu"],
        case["lam"],
        plus,
        np.random.RandomState(seed),
    )
    return [progress[generation - 1] for generation in CHECKPOINTS]


if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        data = {
            f"{problem}-{'plus' if plus else 'comma'}": np.array(list(pool.map(partial(one, problem, plus), range(RUNS))))
            for problem in PROBLEMS
            for plus in (False, True)
        }
    np.savez_compressed(Path(__file__).parent / "data" / "tutorial.npz", **data)
