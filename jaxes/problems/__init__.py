"""Objectives that know their space and their optimum.

problem = jaxes.problems.ackley(dimension=20)
jaxes.minimize(problem)
"""

from jaxes.problems import multi_objective
from jaxes.problems.classic import ackley, griewank, rastrigin, rosenbrock, schwefel, sphere
from jaxes.problems.problem import Constrained, MultiObjective, Problem

ALL = {f.__name__: f for f in (ackley, griewank, rastrigin, rosenbrock, schwefel, sphere)}
"""Every problem by its name: a function of `dimension` that makes it."""

__all__ = [
    "ALL",
    "Constrained",
    "MultiObjective",
    "Problem",
    "ackley",
    "griewank",
    "multi_objective",
    "rastrigin",
    "rosenbrock",
    "schwefel",
    "sphere",
]
