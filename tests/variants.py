"""The table of strategies that the contract tests run through, and small things that several tests share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxes
from jaxes import (
    ARS,
    CEM,
    CMAES,
    CRFMNES,
    DE,
    DXNESIC,
    ES,
    JDE,
    LMMAES,
    LRACMAES,
    MAES,
    PGPE,
    SHADE,
    SNES,
    XNES,
    Clip,
    ElitistCMAES,
    GuidedES,
    IAMaLGaM,
    Islands,
    NoiseReuseES,
    OneFifth,
    OpenAIES,
    PersistentES,
    Reflect,
    Resample,
    Schedule,
    SelfAdaptation,
    SepCMAES,
    Smooth,
    VkDCMAES,
    Wrap,
    run,
)
from jaxes.batch import keys_of_runs
from jaxes.strategy import State


def signs(solution):
    """A surrogate gradient that often is none."""
    return jax.tree.map(jnp.sign, solution)


def islands_of(kind):
    """A maker of islands of a strategy: what they are told of is its own, and the rest is theirs."""
    own = {"islands", "every", "migrants", "topology", "policy"}

    def build(space, **options):
        ours = {name: options.pop(name) for name in own & set(options)}
        return Islands(kind(space, **options), **ours)

    return build


VARIANTS = {
    "tutorial": {"mu": 5, "lam": 20, "sigma": 0.3},
    "default": {},
    "plus": {"mu": 5, "lam": 20, "sigma": 0.3, "selection": "plus"},
    "one plus one": {"mu": 1, "lam": 1, "sigma": OneFifth(), "selection": "plus"},
    "one comma": {"mu": 1, "lam": 7, "sigma": SelfAdaptation()},
    "intermediate": {"mu": 4, "lam": 15, "sigma": 0.3, "recombination": "intermediate"},
    "intermediate 2": {"mu": 4, "lam": 15, "sigma": SelfAdaptation(), "recombination": "intermediate", "rho": 2},
    "weighted": {"mu": 6, "lam": 12, "sigma": SelfAdaptation(per_coordinate=True), "recombination": "weighted"},
    "weighted 3": {"mu": 6, "lam": 12, "sigma": 0.2, "recombination": "weighted", "rho": 3},
    "discrete": {"mu": 4, "lam": 13, "sigma": SelfAdaptation(per_coordinate=True), "recombination": "discrete"},
    "of a value": {"mu": 4, "lam": 12, "lam_max": 16, "sigma": SelfAdaptation(), "sampling": "mirrored"},
    "discrete 2": {"mu": 4, "lam": 13, "sigma": 0.2, "recombination": "discrete", "rho": 2},
    "schedule": {"mu": 5, "lam": 20, "sigma": Schedule(optax.cosine_decay_schedule, init_value=1.0, decay_steps=50)},
    "one fifth": {"mu": 3, "lam": 9, "sigma": OneFifth(), "selection": "plus", "recombination": "weighted"},
    "self-adaptive plus": {"mu": 3, "lam": 21, "sigma": SelfAdaptation(per_coordinate=True), "selection": "plus"},
    "mutation rate": {"mu": 5, "lam": 20, "sigma": 0.5, "mutation_rate": 0.3, "sampling": "sobol"},
    "reevaluate": {"mu": 5, "lam": 20, "sigma": 0.3, "selection": "plus", "reevaluate": True},
    "clip": {"mu": 5, "lam": 20, "sigma": 0.3, "bounds": Clip()},
    "reflect": {"mu": 5, "lam": 20, "sigma": 0.3, "bounds": Reflect(), "sampling": "orthogonal"},
    "wrap": {"mu": 5, "lam": 20, "sigma": 0.3, "bounds": Wrap()},
    "CMAES": {"kind": CMAES, "sigma": 0.3},
    "CMAES of a value": {"kind": CMAES, "lam": 9, "lam_max": 12, "sigma": 0.3, "control": "tpa"},
    "CMAES symmetric": {"kind": CMAES, "lam": 9, "root": "symmetric", "bounds": Resample(), "sampling": "mirrored"},
    "LRACMAES": {"kind": LRACMAES, "sigma": 0.3},
    "SepCMAES": {"kind": SepCMAES, "lam": 9, "lam_max": 12, "sigma": 0.3},
    "MAES": {"kind": MAES, "sigma": 0.3},
    "MAES passive": {"kind": MAES, "active": False, "control": "msr", "bounds": Clip()},
    "ElitistCMAES": {"kind": ElitistCMAES},
    "LMMAES": {"kind": LMMAES, "sigma": 0.3},
    "VkDCMAES": {"kind": VkDCMAES, "sigma": 0.3},
    "XNES": {"kind": XNES, "learning_rate": 0.5},
    "XNES resampled": {"kind": XNES, "lam": 12, "learning_rate": 0.5, "bounds": Resample(), "sampling": "mirrored"},
    "SNES": {"kind": SNES, "sigma": 0.3},
    "DXNESIC": {"kind": DXNESIC},
    "CRFMNES": {"kind": CRFMNES},
    "CEM": {"kind": CEM, "lam": 40},
    "IAMaLGaM": {"kind": IAMaLGaM},
    "IAMaLGaM univariate": {"kind": IAMaLGaM, "lam": 16, "model": "univariate"},
    "DE": {"kind": DE, "lam": 20, "bounds": Smooth()},
    "DE best": {"kind": DE, "lam": 12, "mutation": "best/1", "bounds": Resample()},
    "JDE": {"kind": JDE, "lam": 20, "bounds": Wrap()},
    "SHADE": {"kind": SHADE, "lam": 20, "lam_max": 24},
    "OpenAIES": {"kind": OpenAIES, "sigma": 0.3},
    "PGPE": {"kind": PGPE, "lam": 16, "sigma": 0.3, "learning_rate": 0.05, "bounds": Clip()},
    "ARS": {"kind": ARS, "lam": 8, "lam_max": 12, "sigma": 0.3, "shaping": "utilities"},
    "GuidedES": {"kind": GuidedES, "sigma": 0.3, "shaping": "centered rank", "surrogate": signs, "bounds": Reflect()},
    "PersistentES": {"kind": PersistentES, "lam": 12, "sigma": 0.3, "shaping": "centered rank", "horizon": 4, "truncation": 2},
    "NoiseReuseES": {"kind": NoiseReuseES, "lam": 12, "sigma": 0.3, "shaping": "utilities", "horizon": 4, "truncation": 2},
    "islands": {"kind": islands_of(CMAES), "lam": 6, "islands": 4, "every": 3, "migrants": 2},
    "islands at random": {"kind": islands_of(JDE), "lam": 8, "islands": 4, "every": 2, "topology": "torus", "policy": "random"},
}


def make(name, space, **changes):
    options = VARIANTS[name] | changes
    return options.pop("kind", ES)(space, **options)


def learnt(state):
    """What a state knows beyond the shared fields, less fitness values: they depend on more than ranks, and may be infinite."""
    own = {f.name for f in dataclasses.fields(state)} - {f.name for f in dataclasses.fields(State)}
    known = {name: getattr(state, name) for name in sorted(own - {"parent_fitness", "recent", "spread", "progress"})}
    if "members" in known:
        known["members"] = learnt(known["members"])
    return known | {"control": getattr(known.get("control"), "success", None)}


def symmetric(matrix):
    """(..., d, d) that of which this is the upper triangle."""
    return np.triu(matrix) + np.swapaxes(np.triu(matrix, 1), -1, -2)


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def exact(x):
    """An objective without rounding: integers below 2**24, whatever the order of the sum. Its minimum is at 0.5."""
    return jnp.sum(jnp.round(64 * (jnp.clip(x, -9, 9) - 0.5)) ** 2)


def shifted_sphere(x):
    """Off the origin and asymmetric."""
    return jnp.sum(jnp.arange(1, x.shape[0] + 1, dtype=x.dtype) * jnp.square(x - 0.7))


def data(leaf):
    """An array, of a key too."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def assert_same(a, b):
    """Two pytrees are equal bit for bit, keys and NaN included."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(data(x), data(y)), a, b)


def runs_of(strategy, functions, runs, generations, **options):
    """Runs on each of some functions, all in one program: compiling takes the time. `Result` (functions, runs)."""

    def one(which, key):
        return run(strategy, objective, key, generations, args=which, **options)

    def objective(x, which):
        return jax.lax.switch(which, functions, x)

    which, index = np.divmod(np.arange(len(functions) * runs), runs)
    result = jax.jit(jax.vmap(one))(which, keys_of_runs(jax.random.key(0), runs)[index])
    return jax.tree.map(lambda leaf: leaf.reshape(len(functions), runs, *leaf.shape[1:]), result)


def assert_a_value_is_the_same_run(strategies, most, generations, targets):
    """Strategies run as they do where their lam is a value, of at most `most`, in one program for all."""
    traces = 0

    def go(strategy):
        return run(strategy, shifted_sphere, 1, generations, targets=targets, stop={"spread": 1e-3})

    @jax.jit
    def program(strategy):
        nonlocal traces
        traces += 1
        return go(strategy)

    for strategy in strategies:
        fixed, valued = go(strategy), program(dataclasses.replace(strategy, lam_max=most))
        np.testing.assert_allclose(fixed.solution, valued.solution, rtol=1e-9)
        for name in ("generations", "evaluations", "stop_reason"):
            np.testing.assert_array_equal(getattr(fixed, name), getattr(valued, name))
        # Parents that ES evaluates again come first, or last.
        each = strategy.evaluations if getattr(strategy, "reevaluate", False) else 1
        np.testing.assert_array_equal((fixed.hits - 1) // each, (valued.hits - 1) // each)
    assert traces == 1


def evaluations(strategy, functions, generations, target=1e-8, runs=32):
    """The median number of evaluations to a target, on each of some functions."""
    hits = np.asarray(runs_of(strategy, functions, runs, generations, targets=[target]).hits[..., 0])
    return np.median(np.where(hits > 0, hits, np.inf), axis=1)


def box(dimension=3, width=2.0):
    return jaxes.Box(-width, width, shape=(dimension,))
