"""The classic ES as a plain NumPy program writes it: one candidate at a time, rejection until it is inside.

The yardstick of the tests (same distribution?) and of the benchmarks (how much faster?). It draws its random numbers in
the order of the published tutorial loop, whose single runs with seed 1 it reproduces: best 0.001147 (comma) and 0.000532
(plus) on Ackley in [-5, 5]^2 with (20, 100), sigma 0.15, 5,000 generations.
"""

from collections.abc import Callable

import numpy as np


def ackley(x: np.ndarray) -> float:
    return -20.0 * np.exp(-0.2 * np.sqrt(np.mean(x**2))) - np.exp(np.mean(np.cos(2 * np.pi * x))) + np.e + 20.0


def evolve(
    objective: Callable[[np.ndarray], float],
    bounds: np.ndarray,
    generations: int,
    sigma: float,
    mu: int,
    lam: int,
    plus: bool = False,
    random: np.random.RandomState | None = None,
) -> tuple[np.ndarray, list[float], int]:
    """The best solution, the best fitness after every generation, and how often the best improved."""
    random = random or np.random.RandomState()
    lower, upper = bounds.T
    dimension = len(bounds)

    def inside(point):
        return bool((point >= lower).all() and (point <= upper).all())

    population = [lower + random.rand(dimension) * (upper - lower) for _ in range(lam)]
    best, best_fitness, improvements = population[0], np.inf, 0
    progress = []
    for _ in range(generations):
        fitness = [objective(candidate) for candidate in population]
        rank = np.argsort(np.argsort(fitness))
        parents = [i for i in range(len(population)) if rank[i] < mu]
        offspring = []
        for i in parents:
            if fitness[i] < best_fitness:
                best, best_fitness, improvements = population[i], fitness[i], improvements + 1
            if plus:
                offspring.append(population[i])
            for _ in range(lam // mu):
                child = None
                while child is None or not inside(child):
                    child = population[i] + random.randn(dimension) * sigma
                offspring.append(child)
        population = offspring
        progress.append(float(best_fitness))
    return best, progress, improvements
