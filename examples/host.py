"""An objective that is not JAX: a simulator that is another program, on this machine and on a cluster.

    python examples/host.py [--quick]

A ball is thrown under a roof 15 m high, to land 100 m away with as little effort as possible. The simulator is a program of
its own: it is started anew for each candidate, takes numbers on its command line, prints where the ball landed, and fails when
it hits the roof. Threads start and await such programs well; that is the default. The same run then goes to a cluster of
Dask, here one of two processes on this machine, and gives the same numbers.
"""

import argparse
import math
import subprocess
import sys

DISTANCE, ROOF = 100.0, 15.0


def fly(speed, angle):
    """The simulator: metres that the ball flew, with the drag of a cricket ball."""
    x, y, dt = 0.0, 1.8, 0.002
    vx, vy = speed * math.cos(angle), speed * math.sin(angle)
    while y > 0:
        if y > ROOF:
            sys.exit("hit the roof")
        drag = 0.0065 * math.hypot(vx, vy)
        vx, vy = vx - dt * drag * vx, vy - dt * (9.81 + drag * vy)
        x, y = x + dt * vx, y + dt * vy
    return x


def objective(throw, program):
    """What a throw costs: NumPy scalars in, a number out. NaN is worst, and an exception would count as NaN, too."""
    command = [sys.executable, program, "--simulate", str(throw["speed"]), str(throw["angle"])]
    done = subprocess.run(command, capture_output=True, text=True)
    return math.nan if done.returncode else (float(done.stdout) - DISTANCE) ** 2 + 0.01 * throw["speed"] ** 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few generations")
    parser.add_argument("--simulate", nargs=2, type=float, metavar=("SPEED", "ANGLE"), help="be the simulator")
    options = parser.parse_args()
    if options.simulate:
        print(fly(*options.simulate))
        return

    import jaxes  # here, because the simulator has no use for it

    space = {"speed": jaxes.Box(20, 80), "angle": jaxes.Box(0.05, 1.0)}
    task = {
        "strategy": jaxes.CMAES(space, lam=8, sigma={"speed": 10.0, "angle": 0.2}),
        "generations": 3 if options.quick else 40,
        "args": __file__,  # anything: it is the function's second argument
    }
    # A simulation that takes longer than so many seconds counts as failed.
    result = jaxes.minimize(objective, **task, host=jaxes.Host(timeout=60))
    show("threads", result)

    from dask.distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        same = jaxes.minimize(objective, **task, host=jaxes.Host(client.get_executor(), workers=2, timeout=60))
    show("Dask", same)
    print("\nthe same numbers:", bool(same.fitness == result.fitness))


def show(name, result):
    print(f"{name}: {result}")
    print("  throw with {speed:.2f} m/s at {angle:.3f} rad".format(**result.solution))
    print(f"  {int(result.invalid)} throws hit the roof")


if __name__ == "__main__":
    main()
