"""What long runs cost: checkpoints, logs and progress beside the same sweep without, and memory beside its estimate.

python benchmarks/long_runs.py                # a sweep of 4,096 runs, interleaved rounds in one process
python benchmarks/long_runs.py --memory       # peak memory of chunked sweeps, each in a process of its own (Linux)
"""

import argparse
import contextlib
import io
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxes
from jaxes.batch import Batch

STRATEGIES = {
    "ES": lambda d, lam: jaxes.ES(jaxes.Box(-5, 5, shape=d), mu=lam // 4, lam=lam, sigma=0.1, recombination="intermediate"),
    "CMAES": lambda d, lam: jaxes.CMAES(jaxes.Box(-5, 5, shape=d), lam=lam),
    "SHADE": lambda d, lam: jaxes.SHADE(jaxes.Box(-5, 5, shape=d), lam=lam),
}


def sphere(x):
    return jnp.sum(jnp.square(x))


def overhead(options):
    """Ratios of time to the same sweep with nothing."""
    strategy = STRATEGIES[options.strategy](options.dimension, options.lam)
    call = {"over": {"stop.target": [-1.0, -2.0]}, "repeats": options.runs // 2, "stop": {"converged": False}, "history": False}
    with tempfile.TemporaryDirectory() as folder:
        fresh = iter(range(10**6))
        ways = {
            "nothing": lambda: {"progress": False},
            "progress": lambda: {"progress": True},
            "log": lambda: {"progress": False, "log": f"{folder}/{next(fresh)}.csv"},
            "checkpoint": lambda: {
                "progress": False,
                "checkpoint": jaxes.Checkpoint(f"{folder}/{next(fresh)}", seconds=options.every),
            },
        }

        def seconds(way):
            begun = time.perf_counter()
            with contextlib.redirect_stderr(io.StringIO()):
                jaxes.sweep(strategy, sphere, 0, options.generations, **call, **ways[way]())
            return time.perf_counter() - begun

        for way in ways:  # compiles
            seconds(way)
        took = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way in ways:
                took[way].append(seconds(way))
    base = statistics.median(took["nothing"])
    print(
        f"{options.runs} runs of {options.strategy}, d = {options.dimension}, lam = {options.lam}, "
        f"{options.generations} generations, about {base:.1f} s; a checkpoint every {options.every:g} s"
    )
    for way, times in took.items():
        ratios = sorted(time / plain for time, plain in zip(times, took["nothing"], strict=True))
        print(f"{way:>12}  {statistics.median(ratios):.3f} of the time with nothing  ({ratios[0]:.3f} to {ratios[-1]:.3f})")


def peak(options):
    """A child: the peak of a chunked sweep beyond what was there before, in the estimate's bytes."""
    strategy = STRATEGIES[options.strategy](options.dimension, options.lam)
    estimates = []
    measure = Batch.memory

    def memory(self):
        estimates.append((self.width, measure(self)))
        return estimates[-1][1]

    Batch.memory = memory

    def sweep(generations):
        return jaxes.sweep(
            strategy,
            sphere,
            0,
            generations,
            over={"sigma": [0.1, 0.3]} if hasattr(strategy, "sigma") else {"stop.target": [1e-8, 1e-9]},
            repeats=options.runs // 2,
            max_memory=options.max_memory,
            history=False,
        )

    sweep(5)  # compiles
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    before = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024
    result = sweep(options.generations)
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    took = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 - before
    data = (jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a for a in jax.tree.leaves(result.runs))
    results = sum(np.asarray(a).nbytes for a in data)
    width, estimate = estimates[-1]
    estimate += results  # which are in the same memory on a CPU
    print(
        f"{options.strategy:>6}, d = {options.dimension:>3}, lam = {options.lam:>3}: {width:>5} of {options.runs} runs at "
        f"once, estimate {estimate / 1e6:6.1f} MB, {results / 1e6:.1f} of them results, peak {took / 1e6:6.1f} MB: "
        f"{took / estimate:.2f} of it"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", choices=STRATEGIES, default="CMAES")
    parser.add_argument("--dimension", type=int, default=10)
    parser.add_argument("--lam", type=int, default=20)
    parser.add_argument("--runs", type=int, default=4096)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--max-memory", type=float)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.generations, options.rounds, options.every = 64, 50, 1, 0.1
    if options.max_memory is not None:
        peak(options)
    elif options.memory:
        cases = [("CMAES", 40, 20, 3e8), ("CMAES", 40, 20, 8e8), ("ES", 100, 100, 3e8), ("SHADE", 50, 100, 8e8)]
        for strategy, dimension, lam, most in cases:
            given = ["--strategy", strategy, "--dimension", dimension, "--lam", lam, "--max-memory", most]
            given += ["--runs", 8192, "--generations", 30]
            subprocess.run([sys.executable, os.path.abspath(__file__), *map(str, given)], check=True)
    else:
        overhead(options)


if __name__ == "__main__":
    main()
