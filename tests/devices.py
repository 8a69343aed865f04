"""What `test_devices` runs in a process of its own, which has eight devices."""

import tempfile

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from variants import assert_same, box, exact

import jaxes

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def noisy(x, key):
    return exact(x) + jax.random.randint(key, (), 0, 8).astype(x.dtype)


def checks():
    devices = jax.devices()
    assert len(devices) == 8
    strategy, call = jaxes.ES(box(), mu=5, lam=20, sigma=0.3), {"generations": 60, "targets": [1e3, 1.0], "progress": False}
    alone = jaxes.minimize(exact, strategy=strategy, **call)
    many = jaxes.minimize(exact, strategy=strategy, runs=13, **call)
    for given in (8, devices[:3], Mesh(np.array(devices).reshape(2, 4), ("a", "b"))):
        yield "runs", many, jaxes.minimize(exact, strategy=strategy, runs=13, devices=given, **call)
    seen = []
    shared = jaxes.minimize(exact, strategy=strategy, devices=8, callback=lambda r: seen.append(r.best()), **call)
    yield "a population", alone, shared
    assert np.all(seen[-1] == alone.solution)
    expected = jaxes.minimize(noisy, strategy=strategy, stochastic=True, **call)
    yield "a noisy population", expected, jaxes.minimize(noisy, strategy=strategy, stochastic=True, devices=3, **call)

    with jax.enable_x64(True):  # integers have another width then
        wide = {"strategy": jaxes.ES(jaxes.Box(-2.0, 2.0, shape=(3,)), mu=5, lam=20, sigma=0.3), "generations": 5}
        yield "in double precision", jaxes.minimize(exact, **wide), jaxes.minimize(exact, **wide, devices=3)

    islands = jaxes.Islands(strategy, topology="torus")
    call["history"] = 7
    yield "islands", jaxes.minimize(exact, strategy=islands, **call), jaxes.minimize(exact, strategy=islands, devices=8, **call)
    with pytest.raises(ValueError, match="as many as divide 3 islands, got 8"):
        jaxes.minimize(pytest.fail, strategy=jaxes.Islands(strategy, islands=3), devices=8)

    grid = {"over": {"sigma": [0.1, 0.3, 0.5]}, "repeats": 7, "history": 5}
    swept = jaxes.sweep(strategy, exact, 0, 50, **grid).runs
    yield "a sweep", swept, jaxes.sweep(strategy, exact, 0, 50, devices=8, **grid).runs
    yield "a sweep in chunks", swept, jaxes.sweep(strategy, exact, 0, 50, devices=8, chunk=10, **grid).runs

    restarts = {
        "strategy": jaxes.Restart(jaxes.SNES(box(2), lam=6), policy="ipop", doublings=2),
        "runs": 9,
        "stop": {"evaluations": 1500},
    }
    expected = jaxes.minimize(exact, devices=4, **restarts)
    assert np.all(np.asarray(expected.stop_reason) == jaxes.StopReason.EVALUATIONS)
    for name, first, then in (("a sweep", 8, 3), ("a sweep", 3, None), ("restarts", 4, 4)):
        with tempfile.TemporaryDirectory() as folder:
            for last in (False, True):
                checkpoint = jaxes.Checkpoint(f"{folder}/runs", generations=3)
                given = {"devices": then if last else first, "checkpoint": checkpoint, "seconds": None if last else 0.2}
                if name == "restarts":
                    looks = iter(range(20))
                    end = None if last else lambda report, looks=looks: next(looks) == 19
                    result = jaxes.minimize(exact, **restarts, **(given | {"seconds": None}), callback=end)
                else:
                    result = jaxes.sweep(strategy, exact, 0, 50, **grid, **given).runs
            yield f"{name} that went on", expected if name == "restarts" else swept, result


if __name__ == "__main__":
    for name, one, other in checks():
        assert_same(one, other)
        print("same:", name, flush=True)
