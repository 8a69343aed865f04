"""Problems with constraints: g01 to g24 of CEC 2006, problems for programming codes, and designs from engineering.

problem = jaxes.problems.constrained.welded_beam()
fitness, violation = problem(x), problem.violation(x)

The designs are those that evolutionary algorithms have been compared on since Coello Coello (2000), Use of a self-adaptive
penalty approach for engineering optimization problems, Computers in Industry 41, 113-127; constants and boxes as in Cagnina,
Esquivel & Coello Coello (2008), Solving engineering optimization problems with the simple constrained particle swarm optimizer,
Informatica 32, 319-326. Other versions exist under the same names: compare values only between equal ones.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxes.checks import check_integer
from jaxes.problems.cec2006 import (
    g01,
    g02,
    g03,
    g04,
    g05,
    g06,
    g07,
    g08,
    g09,
    g10,
    g11,
    g12,
    g13,
    g14,
    g15,
    g16,
    g17,
    g18,
    g19,
    g20,
    g21,
    g22,
    g23,
    g24,
)
from jaxes.problems.problem import Constrained, from_formula


def _hs71(x):
    x1, x2, x3, x4 = x
    return x1 * x4 * (x1 + x2 + x3) + x3, [jnp.sum(x * x) - 40], [25 - x1 * x2 * x3 * x4]


def hs71() -> Constrained:
    """Problem 71 of Hock & Schittkowski (1981): a sphere and a product, 4 variables. Optimum 17.0140173."""
    optimum = [1.0, 4.742999637264417, 3.8211499841848737, 1.3794082931726723]
    return from_formula(_hs71, [1.0] * 4, [5.0] * 4, optimum, 17.0140172891563)


def _luksan_vlcek1(x):
    f = jnp.sum(100 * (x[:-1] ** 2 - x[1:]) ** 2 + (x[:-1] - 1) ** 2)
    a, b, c = x[:-2], x[1:-1], x[2:]
    return f, list(3 * b**3 + 2 * c - 5 + jnp.sin(b - c) * jnp.sin(b + c) + 4 * b - a * jnp.exp(a - b) - 3), []


def luksan_vlcek1(dimension: int = 3) -> Constrained:
    """Rosenbrock's chained function under dimension - 2 equalities. Optimum 0 at (1, ..., 1); at least three dimensions.

    Problem 5.1 of Luksan & Vlcek (1999), Sparse and partially separable test problems for unconstrained and equality
    constrained optimization, report 767, Academy of Sciences of the Czech Republic. They give no box: +-5 is pygmo's.

    Raises:
        TypeError, ValueError: a dimension that is no integer, or below 3.
    """
    dimension = check_integer("luksan_vlcek1", "dimension", dimension, 3)
    return from_formula(_luksan_vlcek1, [-5.0] * dimension, [5.0] * dimension, [1.0] * dimension, 0.0)


def _welded_beam(x):
    h, w, t, b = x  # thickness and length of the weld, height and thickness of the bar
    load, length, young, shear = 6000.0, 14.0, 30e6, 12e6
    r = jnp.sqrt(w**2 / 4 + ((h + t) / 2) ** 2)
    j = 2 * (math.sqrt(2) * h * w * (w**2 / 12 + ((h + t) / 2) ** 2))
    primary = load / (math.sqrt(2) * h * w)
    secondary = load * (length + w / 2) * r / j
    tau = jnp.sqrt(primary**2 + 2 * primary * secondary * w / (2 * r) + secondary**2)
    sigma = 6 * load * length / (b * t**2)
    delta = 4 * load * length**3 / (young * t**3 * b)
    buckling = 4.013 * young / (6 * length**2) * t * b**3 * (1 - t / (2 * length) * math.sqrt(young / (4 * shear)))
    cost = 0.04811 * t * b * (14 + w)
    g = [
        tau - 13600,
        sigma - 30000,
        h - b,
        0.10471 * h**2 + cost - 5,
        0.125 - h,
        delta - 0.25,
        load - buckling,
    ]
    return 1.10471 * h**2 * w + cost, [], g


def welded_beam() -> Constrained:
    """The cheapest welded beam that bears a load: thickness and length of the weld, height and thickness of the bar [inch].

    Optimum 1.72485231. The fourth inequality, not active there, has 0.10471 as in the literature, not 1.10471.
    """
    optimum = [0.20572963978607947, 3.470488665628001, 9.036623910357633, 0.20572963978607947]
    return from_formula(_welded_beam, [0.1, 0.1, 0.1, 0.1], [2.0, 10.0, 10.0, 2.0], optimum, 1.7248523085973646)


def _pressure_vessel(x):
    _, _, radius, length = x
    shell, head = jnp.round(x[:2] / 0.0625) * 0.0625
    f = 0.6224 * shell * radius * length + 1.7781 * head * radius**2 + 3.1661 * shell**2 * length + 19.84 * shell**2 * radius
    g = [
        0.0193 * radius - shell,
        0.00954 * radius - head,
        1296000 - math.pi * radius**2 * length - 4 / 3 * math.pi * radius**3,
        length - 240,
    ]
    return f, [], g


def pressure_vessel() -> Constrained:
    """The cheapest cylinder with round heads for a volume: thickness of shell and head, radius and length [inch].

    Plates come in multiples of 1/16 inch: the two thicknesses are rounded to the nearest one before anything is computed, so
    that all solutions within 1/32 have one fitness. Optimum 6059.71434 (with thicknesses of any size it would be 5885.33).
    """
    optimum = [0.8125, 0.4375, 42.09844559585492, 176.63659584243945]
    return from_formula(
        _pressure_vessel, [0.0625, 0.0625, 10.0, 10.0], [99 * 0.0625, 99 * 0.0625, 200.0, 200.0], optimum, 6059.714335048436
    )


def _spring(x):
    d, diameter, coils = x
    g = [
        1 - diameter**3 * coils / (71785 * d**4),
        (4 * diameter**2 - d * diameter) / (12566 * (diameter * d**3 - d**4)) + 1 / (5108 * d**2) - 1,
        1 - 140.45 * d / (diameter**2 * coils),
        (diameter + d) / 1.5 - 1,
    ]
    return (coils + 2) * diameter * d**2, [], g


def spring() -> Constrained:
    """The lightest tension/compression spring: diameter of wire and of coil [inch], active coils. Optimum 0.0126652328.

    71785 is what papers print; the digits of Coello Coello (2000) are those of 71875, with which values differ slightly.
    """
    optimum = [0.05168906108276348, 0.3567177397994414, 11.288965751613311]
    return from_formula(_spring, [0.05, 0.25, 2.0], [2.0, 1.3, 15.0], optimum, 0.012665232788319419)


ALL = {
    f.__name__: f
    for f in (
        *(hs71, luksan_vlcek1, welded_beam, pressure_vessel, spring),
        *(g01, g02, g03, g04, g05, g06, g07, g08, g09, g10, g11, g12),
        *(g13, g14, g15, g16, g17, g18, g19, g20, g21, g22, g23, g24),
    )
}
"""Every constrained problem by its name: a function that makes it."""
