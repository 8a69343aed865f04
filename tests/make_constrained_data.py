"""Makes tests/data/constrained.npz: values of constrained problems by pygmo and pymoo, for test_constrained.py.

    pip install pygmo==2.20.0 pymoo==0.6.2      # the versions whose values are stored
    python tests/make_constrained_data.py       # seconds

For each problem: points uniform in pygmo's box [n, d], pygmo's fitness [n, 1 + equalities + inequalities] and its number of
equalities; where they have them, pygmo's best known solution and pymoo's values at the same points. pymoo counts the pressure
vessel's plates in multiples of 1/16 inch.
"""

from pathlib import Path

import numpy as np
import pygmo
from pymoo.problems import get_problem
from pymoo.problems.single.pressure_vessel import PressureVessel

POINTS = 20


def values(problem: pygmo.problem, seed: int) -> dict[str, np.ndarray]:
    lower, upper = problem.get_bounds()
    x = np.random.RandomState(seed).uniform(lower, upper, (POINTS, len(lower)))
    data = {"x": x, "pygmo": np.array([problem.fitness(row) for row in x]), "box": np.array([lower, upper])}
    data["equalities"] = np.array(problem.get_nec())
    if problem.extract(pygmo.cec2006):
        data["best"] = np.asarray(problem.extract(pygmo.cec2006).best_known())
    return data


def pymoo_values(name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    out = (PressureVessel() if name == "pressure_vessel" else get_problem(name)).evaluate(
        x, return_values_of=["F", "H", "G"], return_as_dictionary=True
    )
    parts = {"objective": out["F"][:, 0], "equality": out["H"], "inequality": out["G"]}
    return {f"pymoo-{key}": value for key, value in parts.items() if value.size}


if __name__ == "__main__":
    cases = {
        "hs71": pygmo.hock_schittkowski_71(),
        "luksan_vlcek1-3": pygmo.luksan_vlcek1(3),
        "luksan_vlcek1-10": pygmo.luksan_vlcek1(10),
    }
    cases |= {f"g{i:02}": pygmo.cec2006(prob_id=i) for i in range(1, 25)}
    data = {}
    for seed, (name, case) in enumerate(cases.items()):
        mine = values(pygmo.problem(case), seed)
        if name.startswith("g"):
            mine |= pymoo_values(f"g{int(name[1:])}", mine["x"])
        data |= {f"{name}/{key}": value for key, value in mine.items()}
    x = np.random.RandomState(100).uniform([1, 1, 10, 10], [99, 99, 200, 200], (POINTS, 4))
    x[:, :2] = np.round(x[:, :2])
    data |= {f"pressure_vessel/{key}": value for key, value in ({"x": x} | pymoo_values("pressure_vessel", x)).items()}
    np.savez_compressed(Path(__file__).parent / "data" / "constrained.npz", **data)
