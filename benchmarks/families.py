"""Evaluations per second of the CMA, NES, DE and gradient families, side by side in one process.

    python benchmarks/families.py [--quick] [--only CMAES,XNES] [--shape 100,64,64] [--json FILE]

Every strategy against those of the same name elsewhere, on the Rosenbrock function in float32, without bounds, from the same
start; jaxes also in a box (+-5) over itself in the open, and over the sum of its parts: normals, objective, ranking, products
of matrices and their factors, each compiled alone at the same shapes. All that are compared take turns in one process; a ratio
is the median of those of the turns. evosax and jaxes run with the same JAX and the same threads, all runs as one program. The
other peers have no batch: they run one optimisation after the other, on one core, so their rate is the same at every batch
size. The objective of pygmo is its own in C++, that of cmaes and pycma is NumPy on the whole population at once. Peers are
skipped, by name, where they are not installed (`pip install "jaxes[bench]"`).

A peer of the same name need not do the same: evosax' xNES takes an elementwise exponential in the place of the matrix's,
evosax' MA_ES has no negative weights, the paths of evosax' LM_MA_ES add up samples with the weights of ranks in the order in
which they were drawn, pygmo's sade is the self-adaptation of jDE.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("OPENBLAS_NUM_THREADS", "1")  # read when NumPy and SciPy are imported

import jax
import jax.numpy as jnp
import numpy as np
import optax
from throughput import in_a_new_process, machine

import jaxes
from jaxes.operators.expm import phi
from jaxes.operators.selection import ranks
from jaxes.strategies import ALL

SIGMA, WIDTH = 0.5, 5.0
SHAPES = ((10, 10, 1024), (20, 64, 512), (40, 16, 256), (100, 64, 64), (1000, 64, 4), (100_000, 64, 1))
FULL, LINEAR = 1000, 100_000  # up to which d strategies with a matrix are run, and those without
SECONDS = 0.3  # of a peer without a batch, for one timing
CALLS = 8  # of a part, one after the other, for one timing

Call = Callable[[], None]


def rosenbrock(x: Any) -> Any:
    """Of points (..., d), for both NumPy and JAX.

    The sum is a product of matrices because that is what takes least: strategies are to be measured here, and XLA's own sum,
    on a CPU, takes half of a generation in 100,000 dimensions.
    """
    terms = 100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2
    return terms @ np.ones(terms.shape[-1], terms.dtype)


def jaxes_call(kind: str, d: int, lam: int, batch: int, generations: int, bounded: bool) -> Call:
    side = WIDTH if bounded else np.inf
    space, options = jaxes.Box(-side, side, shape=(d,)), {"start": np.zeros(d), "sigma": SIGMA}
    if kind in ("DE", "JDE", "SHADE"):
        options = {} if bounded else {"start": np.zeros(d), "spread": SIGMA}
    if kind == "IAMaLGaM":
        options |= {"model": "univariate"}  # evosax' full one factors a batch of matrices in a way that can hang on a CPU
    strategy = getattr(jaxes, kind)(space, lam=lam, **options)

    @jax.jit
    def runs(keys):
        result = jax.vmap(lambda key: jaxes.run(strategy, rosenbrock, key, generations))(keys)
        return result.fitness, result.generations

    keys = jax.random.split(jax.random.key(0), batch)
    told = runs(keys)[1]
    assert (np.asarray(told) == generations).all(), f"a run of {kind} ended before its time"
    return lambda: jax.block_until_ready(runs(keys))


def evosax_call(kind: str, d: int, lam: int, batch: int, generations: int) -> Call:
    from evosax import algorithms

    adam = {"optimizer": optax.adam(0.1)} if kind in ("Open_ES", "GuidedES", "PersistentES", "NoiseReuseES") else {}
    strategy = getattr(algorithms, kind)(population_size=lam, solution=jnp.zeros(d), **adam)
    params = strategy.default_params
    if hasattr(params, "std_init"):
        params = params.replace(std_init=SIGMA)

    @jax.jit
    def runs(keys):
        def one(key):
            start, key = jax.random.split(key)
            if kind == "DifferentialEvolution":
                population = SIGMA * jax.random.normal(start, (lam, d))
                state = strategy.init(key, population, rosenbrock(population), params)
            else:
                state = strategy.init(key, jnp.zeros(d), params)

            def generation(carry, _):
                state, key = carry
                key, ask, tell = jax.random.split(key, 3)
                population, state = strategy.ask(ask, state, params)
                state, _ = strategy.tell(tell, population, jax.vmap(rosenbrock)(population), state, params)
                return (state, key), None

            return jax.lax.scan(generation, (state, key), None, length=generations)[0][0].best_fitness

        return jax.vmap(one)(keys)

    keys = jax.random.split(jax.random.key(0), batch)
    runs(keys).block_until_ready()
    return lambda: jax.block_until_ready(runs(keys))


def cmaes_call(kind: str, d: int, lam: int, generations: int) -> Call:
    import cmaes

    name, *adapted = kind.split()
    options: dict[str, Any] = {"lr_adapt": True} if adapted else {}

    def call():
        peer = getattr(cmaes, name)(mean=np.zeros(d), sigma=SIGMA, population_size=lam, seed=1, **options)
        for _ in range(generations):
            x = np.stack([peer.ask() for _ in range(lam)])
            peer.tell(list(zip(x, rosenbrock(x), strict=True)))

    return call


def pycma_call(kind: str, d: int, lam: int, generations: int) -> Call:
    import cma

    options = {"popsize": lam, "verbose": -9, "seed": 1, "CMA_diagonal": kind == "separable"}
    if kind == "VkD":
        from cma.restricted_gaussian_sampler import GaussVkDSampler

        options = GaussVkDSampler.extend_cma_options(options)

    def call():
        peer = cma.CMAEvolutionStrategy(np.zeros(d), SIGMA, dict(options))
        for _ in range(generations):
            x = np.stack(peer.ask())
            peer.tell(list(x), rosenbrock(x))

    return call


def pygmo_call(kind: str, d: int, lam: int, generations: int) -> Call:
    import pygmo

    # Tolerances of 0, or they end after few generations; the state of CMA-ES begins anew with every `evolve`.
    options = {"sade": {"variant_adptv": 1}, "cmaes": {"sigma0": SIGMA}, "xnes": {"sigma0": SIGMA}}.get(kind, {})
    algorithm = pygmo.algorithm(getattr(pygmo, kind)(gen=generations, ftol=0.0, xtol=0.0, seed=1, **options))
    population = pygmo.population(pygmo.problem(pygmo.rosenbrock(d)), size=lam, seed=1)
    return lambda: algorithm.evolve(population)


PEERS = {
    "CMAES": (("evosax", "CMA_ES"), ("cmaes", "CMA"), ("pycma", "full"), ("pygmo", "cmaes")),
    "MAES": (("evosax", "MA_ES"),),
    "XNES": (("evosax", "xNES"), ("cmaes", "XNES"), ("pygmo", "xnes")),
    "SepCMAES": (("evosax", "Sep_CMA_ES"), ("cmaes", "SepCMA"), ("pycma", "separable")),
    "LRACMAES": (("cmaes", "CMA lr_adapt"),),
    "LMMAES": (("evosax", "LM_MA_ES"),),
    "VkDCMAES": (("pycma", "VkD"),),
    "DXNESIC": (),  # that of cmaes 0.13 raises in NumPy 2.4, which makes no number of its arrays of shape (1, 1)
    "CRFMNES": (("evosax", "CR_FM_NES"),),
    "IAMaLGaM": (("evosax", "iAMaLGaM_Univariate"),),
    "CEM": (),
    "SNES": (("evosax", "SNES"),),
    "DE": (("evosax", "DifferentialEvolution"), ("pygmo", "de")),
    "JDE": (("pygmo", "sade"),),
    "SHADE": (),
    "OpenAIES": (("evosax", "Open_ES"),),
    "PGPE": (("evosax", "PGPE"),),
    "ARS": (("evosax", "ARS"),),
    "GuidedES": (("evosax", "GuidedES"),),
    "PersistentES": (("evosax", "PersistentES"),),
    "NoiseReuseES": (("evosax", "NoiseReuseES"),),
}
"""Who does what every strategy does, by their names."""

SINGLE = {"cmaes": cmaes_call, "pycma": pycma_call, "pygmo": pygmo_call}
PACKAGES = {"evosax": "evosax", "cmaes": "cmaes", "pycma": "cma", "pygmo": "pygmo"}
EXPONENTIAL = ("XNES", "DXNESIC")
MATRIX = ("CMAES", "LRACMAES", "MAES", *EXPONENTIAL)


def parts_calls(kind: str, d: int, lam: int, batch: int) -> dict[str, Call]:
    """The parts of a generation, each as its own program."""

    def normal(seed, *shape):
        return jax.random.normal(jax.random.key(seed), (batch, *shape))

    def mul(a, b):
        return jnp.matmul(a, b, precision="highest")

    def products(y, m):
        if kind not in MATRIX:  # a weighted sum of vectors
            return mul(jnp.ones((1, lam)), y)
        sampled, matrix = mul(y, m), mul(y.T, y)  # of all of them: those of samples and of the update
        if kind == "MAES":
            return sampled, matrix
        if kind in EXPONENTIAL:
            return sampled, matrix, mul(y, m.T), mul(m, y.T), mul(y, y.T)
        return sampled, matrix, mul(y, m.T)

    def factored(c):
        if kind in EXPONENTIAL:
            small = jnp.eye(min(d, lam)) * c[0, 0]
            return phi(small, 2.0)
        root = jax.lax.linalg.cholesky(c, symmetrize_input=False)
        return root, jax.scipy.linalg.solve_triangular(root, jnp.eye(d), lower=True)

    y = normal(1, lam, d)
    programs: dict[str, tuple] = {
        "normals": (lambda key: jax.random.normal(key, (lam, d)), jax.random.split(jax.random.key(0), batch)),
        "objective": (rosenbrock, y),
        "ranking": (ranks, normal(2, lam)),
        "products": (products, y, normal(3, *((d, d) if kind in MATRIX else (1,)))),
    }
    if kind in ("DE", "JDE", "SHADE"):
        del programs["products"]
    if kind in MATRIX and kind != "MAES":
        programs["factors"] = factored, jnp.broadcast_to(jnp.eye(d), (batch, d, d))

    def repeated(program, arguments):
        compiled = jax.jit(jax.vmap(program)).lower(*arguments).compile()
        jax.block_until_ready(compiled(*arguments))

        def call():
            for _ in range(CALLS):
                out = compiled(*arguments)
            jax.block_until_ready(out)

        return call

    return {name: repeated(program, arguments) for name, (program, *arguments) in programs.items()}


def seconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def calibrated(make: Callable[[int], Call], least: int) -> tuple[Call, int]:
    """A peer without a batch, for about `SECONDS`, and its generations."""
    trial = make(least)
    trial()
    generations = max(least, min(2000, int(least * SECONDS / max(seconds(trial), 1e-6))))
    return make(generations), generations


def row(kind: str, d: int, lam: int, batch: int, repeats: int, skipped: set[str], quick: bool) -> dict:
    """Ratios of jaxes over others, each the median over turns."""
    generations = 4 if d >= FULL and kind in MATRIX else 16 if quick or d >= 100 else 64
    least = min(10, generations)
    # name: a call, and its evaluations
    calls = {"jaxes": (jaxes_call(kind, d, lam, batch, generations, False), batch * lam * generations)}
    calls["in a box"] = jaxes_call(kind, d, lam, batch, generations, True), batch * lam * generations
    for name, theirs in PEERS[kind]:
        try:
            if name == "evosax":
                calls[name] = evosax_call(theirs, d, lam, batch, generations), batch * lam * generations
            else:
                single = SINGLE[name]
                call, count = calibrated(lambda g, single=single, theirs=theirs: single(theirs, d, lam, g), least)
                calls[name] = call, lam * count
        except ImportError:
            skipped.add(name)
    parts = parts_calls(kind, d, lam, batch)
    rates: dict[str, list[float]] = {name: [] for name in calls}
    pieces: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, (call, evaluations) in calls.items():
            rates[name].append(evaluations / seconds(call))
        for name, call in parts.items():
            pieces[name].append(seconds(call) / CALLS)
    limit = [batch * lam / sum(times) for times in zip(*pieces.values(), strict=True)]
    mine = rates.pop("jaxes")
    ratios = {
        name: statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
        for name, theirs in {**rates, "parts": limit}.items()
    }
    ratios["in a box"] = 1 / ratios["in a box"]
    return {
        "strategy": kind,
        "d": d,
        "lam": lam,
        "batch": batch,
        "evaluations_per_second": statistics.median(mine),
        "ratios": ratios,
        "parts_seconds": {name: statistics.median(times) for name, times in pieces.items()},
    }


FIRST_CALL = """
import sys, time, jaxes
import jax.numpy as jnp
float(jnp.zeros(()))
begin = time.perf_counter()
strategy = getattr(jaxes, sys.argv[1])(jaxes.Box(-5, 5, shape=10))
float(jaxes.run(strategy, lambda x: jnp.sum(x * x), 0, 100).fitness)
print(time.perf_counter() - begin)
"""


def first_call(kind: str) -> float:
    """Seconds until the first run's answer, in a new process that has imported all."""
    return in_a_new_process(FIRST_CALL, kind)


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small work: checks that it runs, measures nothing")
    parser.add_argument("--only", metavar="NAMES", help="some of the strategies, with commas")
    parser.add_argument("--shape", metavar="D,LAM,RUNS", help="one shape instead of all")
    parser.add_argument("--repeats", type=int, default=5, help="turns of every comparison; default 5")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else ["CMAES", "SNES", "DE"] if options.quick else list(PEERS)
    if unknown := set(only) - set(PEERS):
        parser.error(f"--only takes some of {', '.join(PEERS)}, got {', '.join(sorted(unknown))}")
    shapes = [tuple(map(int, options.shape.split(",")))] if options.shape else [(4, 8, 2)] if options.quick else list(SHAPES)
    repeats = 1 if options.quick else options.repeats

    report: dict = {
        "machine": machine(),
        "peers": {name: installed(package) for name, package in PACKAGES.items()},
        "rows": [],
    }
    print(f"Rosenbrock, {report['machine']['devices']}, jax {jax.__version__}; {report['peers']}")
    print("evaluations/s in millions; ratios are jaxes over the other, in a box: over itself in the open\n")
    names = ("in a box", "parts", *PACKAGES)
    columns = ("strategy", "d", "lam", "runs", "jaxes", *(name if name == "in a box" else "/" + name for name in names))
    print("".join(f"{word:>10}" for word in columns))
    skipped: set[str] = set()
    for d, lam, batch in shapes:
        for kind in only:
            if d > (FULL if kind in MATRIX else LINEAR):
                continue
            found = row(kind, d, lam, batch, repeats, skipped, options.quick)
            report["rows"].append(found)
            shown = (f"{found['ratios'][name]:>10.3g}" if name in found["ratios"] else f"{'-':>10}" for name in names)
            rate = found["evaluations_per_second"] / 1e6
            print(f"{kind:>10}{d:>10}{lam:>10}{batch:>10}{rate:>10.3g}" + "".join(shown), flush=True)
            jax.clear_caches()
    for name in sorted(skipped):
        print(f"{name} is not installed: skipped", file=sys.stderr)
    if not options.only and not options.shape:
        kinds = ["CMAES"] if options.quick else [kind.__name__ for kind in ALL]
        report["first_call_seconds"] = {kind: first_call(kind) for kind in kinds}
        print("\nseconds of a first run of 100 generations in 10 dimensions, compiling included")
        for kind, time_taken in report["first_call_seconds"].items():
            print(f"{kind:>15}{time_taken:>8.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
