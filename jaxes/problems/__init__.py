"""Objectives that know their space and their optimum.

problem = jaxes.problems.ackley(dimension=20)
jaxes.minimize(problem)
"""

from jaxes.problems import constrained, multi_objective
from jaxes.problems.binary import Bits, binary
from jaxes.problems.classic import (
    ackley,
    beale,
    booth,
    branin,
    bukin6,
    drop_wave,
    easom,
    goldstein_price,
    griewank,
    himmelblau,
    levy,
    michalewicz,
    rastrigin,
    rosenbrock,
    schwefel,
    six_hump_camel,
    sphere,
    styblinski_tang,
)
from jaxes.problems.coco import bbob
from jaxes.problems.lennard_jones import lennard_jones
from jaxes.problems.problem import Constrained, MultiObjective, Problem

ALL = {
    f.__name__: f
    for f in (
        ackley,
        beale,
        booth,
        branin,
        bukin6,
        drop_wave,
        easom,
        goldstein_price,
        griewank,
        himmelblau,
        lennard_jones,
        levy,
        michalewicz,
        rastrigin,
        rosenbrock,
        schwefel,
        six_hump_camel,
        sphere,
        styblinski_tang,
    )
}
"""Every problem by its name: a function of `dimension` that makes it, by default in a dimension in which it exists."""

__all__ = [
    "ALL",
    "Bits",
    "Constrained",
    "MultiObjective",
    "Problem",
    "ackley",
    "bbob",
    "beale",
    "binary",
    "booth",
    "branin",
    "bukin6",
    "constrained",
    "drop_wave",
    "easom",
    "goldstein_price",
    "griewank",
    "himmelblau",
    "lennard_jones",
    "levy",
    "michalewicz",
    "multi_objective",
    "rastrigin",
    "rosenbrock",
    "schwefel",
    "six_hump_camel",
    "sphere",
    "styblinski_tang",
]
