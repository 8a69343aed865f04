"""Prints the optima of jaxes/problems/constrained.py and cec2006.py that are not in closed form there, in float64.

    python tests/make_constrained_optima.py        # a minute; uses tests/data/constrained.npz

From the best known solution, which is exact to the digits or to the tolerance of its publication, SLSQP goes to one that meets
the constraints. Then Newton's method solves the conditions of Karush, Kuhn and Tucker with the constraints that are active
there, until they are met to rounding.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parents[1]))
from jaxes.problems import cec2006, constrained

DATA = np.load(Path(__file__).parent / "data" / "constrained.npz")
BELOW_100 = np.nextafter(100.0, 0.0)  # where a cost of g17 jumps
STARTS = {
    "hs71": [1.0, 4.743, 3.82115, 1.37941],
    "welded_beam": [0.20573, 3.470489, 9.036624, 0.20573],
    "spring": [0.051690, 0.356750, 11.287126],
} | {f"g{i:02}": DATA[f"g{i:02}/best"] for i in (2, 4, 5, 7, 8, 9, 10, 13, 14, 15, 16, 17, 18, 19, 24)}


def polish(name, start):
    formula = getattr(constrained, f"_{name}", None) or getattr(cec2006, f"_{name}")
    lower, upper = (np.array(side) for side in getattr(constrained, name)().space.bounds())
    if name == "g17":
        upper[1] = BELOW_100
    width = upper - lower

    def parts(u):  # in units of the box
        f, h, g = formula(lower + width * u)
        return f, jnp.asarray(h, u.dtype), jnp.asarray(g, u.dtype)

    jacobian = jax.jit(jax.jacfwd(parts))
    parts = jax.jit(parts)
    u = np.clip((np.asarray(start) - lower) / width, 0, 1)
    scale = [np.maximum(np.abs(np.asarray(rows)).max(axis=-1, initial=0), 1e-12) for rows in jacobian(u)[1:]]

    def constraint(kind, index, sign):
        return {
            "type": kind,
            "fun": lambda u: sign * np.asarray(parts(u)[index]) / scale[index - 1],
            "jac": lambda u: sign * np.asarray(jacobian(u)[index]) / scale[index - 1][:, None],
        }

    found = minimize(
        lambda u: float(parts(u)[0]),
        u,
        jac=lambda u: np.asarray(jacobian(u)[0]),
        bounds=[(0, 1)] * len(u),
        constraints=[constraint("eq", 1, 1), constraint("ineq", 2, -1)],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-15},
    )
    u = np.clip(found.x, 0, 1)
    fixed = (u < 1e-9) | (u > 1 - 1e-9)
    u = np.where(fixed, np.round(u), u)
    active = np.asarray(parts(u)[2]) / scale[1] > -1e-7

    def conditions(z):
        free, multipliers = z[: len(u)], z[len(u) :]
        v = jnp.where(fixed, u, free)

        def lagrangian(v):
            f, h, g = parts(v)
            return f + jnp.sum(multipliers * jnp.concatenate([h / scale[0], (g / scale[1])[active]]))

        _, h, g = parts(v)
        return jnp.concatenate([jnp.where(fixed, free - u, jax.grad(lagrangian)(v)), h / scale[0], (g / scale[1])[active]])

    z = np.concatenate([u, np.zeros(len(scale[0]) + active.sum())])
    newton = jax.jit(lambda z: (conditions(z), jax.jacfwd(conditions)(z)))
    for _ in range(20):
        residual, slope = map(np.asarray, newton(z))
        z = z - np.linalg.lstsq(slope, residual, rcond=1e-12)[0]
    u = np.where(fixed, u, z[: len(u)])
    x = lower + width * u
    f, h, g = formula(x)
    broken = max(np.abs(h).max(initial=0), np.max(g, initial=-np.inf))
    print(f"{name}: {found.message}; active {active.sum()} and {fixed.sum()} bounds, KKT {np.abs(residual).max():.1e}")
    print(f"  broken by {broken:.1e}, value {float(f)!r} (start {float(formula(jnp.asarray(start))[0])!r})\n  {x.tolist()}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, start in STARTS.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            polish(name, start)
