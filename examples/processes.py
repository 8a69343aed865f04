"""One sweep over the devices of several processes, on one machine or many, that survives when they are killed.

    python examples/processes.py                         # plays both parts on this machine: 2 processes of 4 CPU devices
    python examples/processes.py --host 10.0.0.1:7777 --processes 2 --process 0   # on the first machine
    python examples/processes.py --host 10.0.0.1:7777 --processes 2 --process 1   # and on the second

Every process runs the same program and gets all results. Devices have their share of the runs and talk to each other only when
the host looks. Each process writes its share of the checkpoints, so the folder must be one that all of them see.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile

import numpy as np

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--host", help="address and port of the first process")
parser.add_argument("--processes", type=int, default=2)
parser.add_argument("--process", type=int)
parser.add_argument("--devices", type=int, default=4, help="CPU devices of each process; 0 for the accelerators there are")
parser.add_argument("--checkpoint", help="a folder that all processes see; the fitness of all runs goes beside it, as .npy")
parser.add_argument("--every", type=float, default=60.0, help="seconds between checkpoints")
parser.add_argument("--repeats", type=int, default=1000)
parser.add_argument("--generations", type=int, default=300)
parser.add_argument("--quick", action="store_true")


def loss(x):
    import jax.numpy as jnp

    return 10 * x.size + jnp.sum(jnp.square(x) - 10 * jnp.cos(2 * jnp.pi * x))


def work(options):
    """What each process does."""
    if options.devices:
        flags = f"--xla_force_host_platform_device_count={options.devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    import jax

    import jaxes

    jax.distributed.initialize(options.host, options.processes, options.process)
    result = jaxes.sweep(
        jaxes.ES(jaxes.Box(-5.12, 5.12, shape=5)),
        loss,
        key=0,
        generations=options.generations,
        over={"sigma": [0.1, 0.3, 1.0]},
        repeats=options.repeats,
        devices=jax.devices(),  # of all processes
        checkpoint=jaxes.Checkpoint(options.checkpoint, seconds=options.every),
    )
    if jax.process_index() == 0:
        print(f"{jax.device_count()} devices of {jax.process_count()} processes")
        print(result.table())
        np.save(f"{options.checkpoint}.npy", result.runs.fitness)


def play(options):
    """Both parts, on this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        host = f"localhost:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        given = ["--host", host, "--checkpoint", options.checkpoint or os.path.join(folder, "runs")]
        given += ["--devices", str(options.devices), "--processes", str(options.processes), "--every", str(options.every)]
        given += ["--repeats", str(options.repeats), "--generations", str(options.generations)]
        both = [subprocess.Popen([sys.executable, __file__, *given, "--process", str(i)]) for i in range(options.processes)]
        try:
            return max(process.wait() for process in both)
        finally:
            for process in both:
                process.kill()


if __name__ == "__main__":
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.generations = 20, 50
    if options.process is None:
        sys.exit(play(options))
    work(options)
