"""Makes tests/data/classic.npz: what other packages say of the classic functions, for test_problems.py and test_binary.py.

    pip install opfunu==1.0.4 pygmo==2.20.0 inspyred==1.0.3
    python tests/make_classic_data.py

Per peer and function, 20 random points (`PEER/NAME/DIMENSION/x`, in the peer's own box) and the peer's values (`.../f`).
"""

import importlib.metadata
from pathlib import Path

import numpy as np
import opfunu
import pygmo
from inspyred import benchmarks
from opfunu.utils.operator import levy_func

POINTS = 20

OPFUNU = {
    "ackley": (opfunu.name_based.Ackley01, (2, 5)),
    "beale": (opfunu.name_based.Beale, (2,)),
    "booth": (opfunu.name_based.Booth, (2,)),
    "branin": (opfunu.name_based.Branin01, (2,)),
    "bukin6": (opfunu.name_based.Bukin06, (2,)),
    "drop_wave": (opfunu.name_based.DropWave, (2,)),
    "easom": (opfunu.name_based.Easom, (2,)),
    "goldstein_price": (opfunu.name_based.GoldsteinPrice, (2,)),
    "griewank": (opfunu.name_based.Griewank, (2, 5)),
    "himmelblau": (opfunu.name_based.Himmelblau, (2,)),
    "lennard_jones": (opfunu.name_based.LennardJones, (6, 15)),
    "levy03": (opfunu.name_based.Levy03, (2, 5)),
    "michalewicz": (opfunu.name_based.Michalewicz, (2,)),
    "six_hump_camel": (opfunu.name_based.CamelSixHump, (2,)),
}
PYGMO = {
    "ackley": pygmo.ackley,
    "griewank": pygmo.griewank,
    "rastrigin": pygmo.rastrigin,
    "rosenbrock": pygmo.rosenbrock,
    "schwefel": pygmo.schwefel,
}
INSPYRED = {
    "ackley": benchmarks.Ackley,
    "griewank": benchmarks.Griewank,
    "rastrigin": benchmarks.Rastrigin,
    "rosenbrock": benchmarks.Rosenbrock,
    "schwefel": benchmarks.Schwefel,
    "sphere": benchmarks.Sphere,
}

if __name__ == "__main__":
    random = np.random.RandomState(0)
    data = {f"version/{peer}": importlib.metadata.version(peer) for peer in ("opfunu", "pygmo", "inspyred")}

    def add(case, points, values):
        data[f"{case}/x"], data[f"{case}/f"] = np.array(points, float), np.array(values, float)

    for name, (make, dimensions) in OPFUNU.items():
        for dimension in dimensions:
            function = make(ndim=dimension)
            x = random.uniform(function.lb, function.ub, (POINTS, dimension))
            add(f"opfunu/{name}/{dimension}", x, [function.evaluate(row) for row in x])
    for dimension in (2, 5):
        x = random.uniform(-10, 10, (POINTS, dimension))
        add(f"opfunu/levy/{dimension}", x, [levy_func(row) for row in x])
    for name, make in PYGMO.items():
        for dimension in (2, 5):
            problem = pygmo.problem(make(dimension))
            x = random.uniform(*problem.get_bounds(), (POINTS, dimension))
            add(f"pygmo/{name}/{dimension}", x, [problem.fitness(row)[0] for row in x])
    for atoms in (3, 7, 13):
        problem = pygmo.problem(pygmo.lennard_jones(atoms))
        x = random.uniform(*problem.get_bounds(), (POINTS, 3 * atoms - 6))
        add(f"pygmo/lennard_jones/{3 * atoms}", x, [problem.fitness(row)[0] for row in x])
    for name, make in INSPYRED.items():
        for dimension in (2, 5):
            benchmark = make(dimension)
            x = random.uniform(benchmark.bounder.lower_bound, benchmark.bounder.upper_bound, (POINTS, dimension))
            add(f"inspyred/{name}/{dimension}", x, benchmark.evaluator(x.tolist(), {}))
    for bits in (1, 5, 20):
        binary = benchmarks.Binary(benchmarks.Rosenbrock(3), bits)  # its box is not symmetric
        x = random.randint(2, size=(POINTS, 3 * bits))
        add(f"inspyred/binary/{bits}", x, binary.evaluator(x.tolist(), {}))
    np.savez_compressed(Path(__file__).parent / "data" / "classic.npz", **data)
