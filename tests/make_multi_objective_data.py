"""Makes tests/data/multi_objective.npz: what peers say of the multi-objective problems, for test_multi_objective.py.

    pip install pymoo==0.6.2 pygmo==2.20.0 inspyred==1.0.3
    pip download --no-deps --no-binary pymoo pymoo==0.4.2.2          # the last release that contains its files of fronts
    python tests/make_multi_objective_data.py pymoo-0.4.2.2.tar.gz

For each problem, and each number of objectives M, "name-M-x" holds points and "name-M-peer" a peer's values there.
"name-M-front" is pymoo's front. What peers cannot do is left out: inspyred's DTLZ5 and DTLZ6 fail for two objectives, and
pymoo's fronts of ZDT5 and of DTLZ5 to DTLZ7 with more than three objectives are not fronts (see the test).
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pygmo
from inspyred import benchmarks
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

POINTS = 12
OBJECTIVES = (2, 3, 5)
K = {1: 5, 7: 20}


def values(name, number, problem, x):
    objectives, dimension = problem.n_obj, x.shape[1]
    yield "pymoo", problem.evaluate(x)
    if name == "zdt":
        other = pygmo.problem(pygmo.zdt(number, 11 if number == 5 else dimension))
        yield "pygmo", np.array([other.fitness(point) for point in x])
    if name == "dtlz":
        other = pygmo.problem(pygmo.dtlz(number, dimension, objectives, 100))
        yield "pygmo", np.array([other.fitness(point) for point in x])
    if name == "kursawe":
        third = benchmarks.Kursawe(dimension)
    elif name == "dtlz" and not (number in (5, 6) and objectives == 2):
        third = getattr(benchmarks, f"DTLZ{number}")(dimension, objectives)
    else:
        return
    assert not third.maximize
    yield "inspyred", np.array([list(third(*point)) for point in x])


def front(name, number, problem, files):
    """At most a few hundred points."""
    if name == "zdt":
        return None if number == 5 else problem.pareto_front()
    if name == "dtlz" and number <= 4:
        return problem.pareto_front(get_reference_directions("das-dennis", problem.n_obj, n_partitions=5))
    if problem.n_obj > 3 or (name == "dtlz" and problem.n_obj == 2):
        return None
    points = np.unique(np.loadtxt(io.BytesIO(files["kursawe" if name == "kursawe" else f"dtlz{number}-3d"])), axis=0)
    return points[:: 1 + len(points) // 500]


def main(sdist: str) -> None:
    with tarfile.open(sdist) as tar:
        members = {Path(m.name).stem: m for m in tar if m.name.endswith(".pf")}
        files = {name: tar.extractfile(members[name]).read() for name in ("kursawe", "dtlz5-3d", "dtlz6-3d", "dtlz7-3d")}
    cases = [("kursawe", "", get_problem("kursawe"))]
    cases += [("zdt", i, get_problem(f"zdt{i}", **({"normalize": False} if i == 5 else {}))) for i in range(1, 7)]
    for i in range(1, 8):
        cases += [("dtlz", i, get_problem(f"dtlz{i}", n_var=m + K.get(i, 10) - 1, n_obj=m)) for m in OBJECTIVES]
    data = {}
    for seed, (name, number, problem) in enumerate(cases):
        rng = np.random.RandomState(seed)
        x = rng.uniform(problem.xl, problem.xu, (POINTS, problem.n_var))
        if (name, number) == ("zdt", 5):  # bits, of which all shares are ones
            x = (x < np.linspace(0.1, 1, POINTS)[:, None]).astype(float)
        if (name, number) == ("dtlz", 4):  # else all angles are 0
            x[POINTS // 2 :] **= 0.01
        case = f"{name}{number}-{problem.n_obj}"
        data[f"{case}-x"] = x
        data.update({f"{case}-{peer}": f for peer, f in values(name, number, problem, x)})
        points = front(name, number, problem, files)
        if points is not None:
            data[f"{case}-front"] = points
    np.savez_compressed(Path(__file__).parent / "data" / "multi_objective.npz", **data)


if __name__ == "__main__":
    main(sys.argv[1])
