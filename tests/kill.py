"""Kills runs at random moments, and looks whether they end as if nothing had happened.

    python tests/kill.py --kills 200

For every strategy and both entry points: the result of an undisturbed run; then runs with checkpoints, in processes of their
own, each killed (SIGKILL) at a random moment, also while it saves; then one that is left alone. Its result must be the same bit
for bit, and no run may begin earlier than an interval before the last generation that the one before it had reached.
"""

import argparse
import hashlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from variants import VARIANTS, exact, make

import jaxes

GENERATIONS = 40
SPACE = jaxes.Box(-2.0, 2.0, shape=(3,))
WRAPPED = {
    "Restart": lambda: jaxes.Restart(jaxes.SNES(SPACE), policy="bipop", doublings=2),
    "Portfolio": lambda: jaxes.Portfolio(SPACE),
    "Reevaluate": lambda: jaxes.Reevaluate(jaxes.SNES(SPACE), times=2),
}
NAMES = [*VARIANTS, *WRAPPED]
ENTRIES = ("minimize", "sweep")


def begin(name, entry, checkpoint=None, callback=None):
    """One of the calls that are killed."""
    strategy = WRAPPED[name]() if name in WRAPPED else make(name, SPACE)
    stop = {"evaluations": 3000}
    if entry == "minimize":
        return jaxes.minimize(
            exact,
            strategy=strategy,
            generations=GENERATIONS,
            runs=4,
            stop=stop,
            targets=[1e3, 1e1],
            checkpoint=checkpoint,
            callback=callback,
        )
    over = {"args": [0.0, 0.25]}
    return jaxes.sweep(
        strategy, shifted, 0, GENERATIONS, over=over, repeats=3, chunk=4, stop=stop, history=True, checkpoint=checkpoint
    ).runs


def shifted(x, by):
    return exact(x + by)


def digest(result):
    """Of all that a result holds."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(result):
        data = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        found.update(np.ascontiguousarray(data).tobytes())
    return found.hexdigest()


def child(name, entry, path, every):
    """What is killed: prints the generations that it reaches, at last the result's digest."""
    print("ready", flush=True)

    def tell(report):
        print("at", report.generation, flush=True)

    checkpoint = jaxes.Checkpoint(path, generations=every)
    print("ended", digest(begin(name, entry, checkpoint, tell)), flush=True)


def attempt(name, entry, path, every, seconds, since="ready"):
    """Runs a child for so many seconds (None: to its end) since it was ready, or since it is "at" its first generation: the
    first and the last generation it reached, its digest, and whether it was killed."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": os.path.join(tempfile.gettempdir(), "jaxes-kill-cache")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, os.path.abspath(__file__), "--child", name, entry, path, str(every)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        lines = [process.stdout.readline()]
        if seconds is not None:
            while lines[-1] and not lines[-1].startswith(since):
                lines.append(process.stdout.readline())
            time.sleep(seconds)
            process.kill()
        lines += process.stdout.read().splitlines()
        killed = process.wait() != 0
    if killed and seconds is None:
        raise SystemExit(f"{name}, {entry}: the run that was left alone failed")
    generations = [int(line.split()[1]) for line in lines if line.startswith("at ")]
    ended = [line.split()[1] for line in lines if line.startswith("ended ")]
    return (generations or [0])[0], (generations or [0])[-1], ended[0] if ended else None, killed


def torment(name, entry, kills, chance, seconds=3.0):
    """How many runs were killed before one ended; fails if that one is not what it should be."""
    undisturbed = digest(begin(name, entry))
    done, reached, every = 0, 0, 2
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "runs")
        for i in range(kills + 1):
            last = i == kills
            # Compiling takes longer than the runs: every other one that tells where it is, is killed while it runs and saves.
            since = "at" if i % 2 and entry == "minimize" else "ready"
            moment = None if last else chance.uniform(0, seconds)
            first, furthest, found, killed = attempt(name, entry, path, every, moment, since)
            done += killed
            if first and first + every < reached:
                raise SystemExit(f"{name}, {entry}: began at {first} after {reached} had been reached")
            reached = max(reached, furthest)
            if found is not None and found != undisturbed:
                raise SystemExit(f"{name}, {entry}: the result is another one after {done} kills")
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=4)
    options = parser.parse_args()
    if options.child:
        child(*options.child[:3], int(options.child[3]))
        return
    pairs = list(itertools.product(NAMES, ENTRIES))
    chance, done = random.Random(options.seed), 0
    for i, (name, entry) in enumerate(pairs):
        kills = -(-(options.kills - done) // (len(pairs) - i))
        done += torment(name, entry, max(kills, 0), chance)
        print(f"{done} kills, {name}, {entry}: nothing lost, nothing altered", flush=True)


if __name__ == "__main__":
    main()
