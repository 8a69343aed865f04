"""Makes tests/data/gradients.npz: means (and sigmas) of evosax' gradient estimators, for test_gradients.py.

    python tests/make_gradients_data.py          # pip install evosax==0.3.2; seconds

Every strategy is told the same perturbations (`perturbations`) of its own mean and their `fitness`, in double precision. Its
equations are the papers', but for Guided ES, which sums over pairs where the paper averages: its learning rate makes up for it.
"""

from pathlib import Path

import numpy as np

D, LAM, GENERATIONS, SIGMA, TRUNCATIONS = 5, 8, 200, 0.3, 3
START = np.linspace(-1.0, 2.0, D)
KINDS = ("OpenAIES", "PGPE", "ARS", "GuidedES", "PersistentES", "NoiseReuseES")


def perturbations(generation: int) -> np.ndarray:
    """(LAM, D) standard normal, mirrored."""
    half = np.random.RandomState(generation).randn(LAM // 2, D)
    return np.concatenate([half, -half])


def fitness(x: np.ndarray) -> np.ndarray:
    """(n,) a bowl with ripples, so that all ranks occur, of (n, D)."""
    i = np.arange(1, D + 1)
    return (i * (x - 0.7) ** 2).sum(axis=1) + 3 * np.cos(5 * (i * x).sum(axis=1))


def means(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(GENERATIONS + 1, D) each: means and standard deviations."""
    import evosax.algorithms as es
    import jax
    import jax.numpy as jnp
    import optax
    from evosax.core.optimizer import clipup

    sigma = optax.constant_schedule(SIGMA)
    options = {"population_size": LAM, "solution": jnp.zeros(D)}
    strategy = {
        "OpenAIES": lambda: es.Open_ES(**options, optimizer=optax.adam(0.05), std_schedule=sigma),
        "PGPE": lambda: es.PGPE(**options, optimizer=clipup(0.05, max_velocity=0.08, eps=0.0)),
        "ARS": lambda: es.ARS(**options, optimizer=optax.sgd(0.02), std_schedule=sigma),
        "GuidedES": lambda: es.GuidedES(**options, optimizer=optax.sgd(0.002 / (LAM // 2)), std_schedule=sigma),
        "PersistentES": lambda: es.PersistentES(**options, optimizer=optax.sgd(0.001), std_schedule=sigma),
        "NoiseReuseES": lambda: es.NoiseReuseES(**options, optimizer=optax.adam(0.05), std_schedule=sigma),
    }[kind]()
    params = strategy.default_params
    if kind == "PGPE":
        params = params.replace(std_init=SIGMA)
    if kind in ("PersistentES", "NoiseReuseES"):
        params = params.replace(T=10 * TRUNCATIONS, K=10)
    key = jax.random.key(0)
    state = strategy.init(key, jnp.asarray(START), params)
    found = [(state.mean, state.std * jnp.ones(D))]
    for generation in range(GENERATIONS):
        _, asked = strategy.ask(key, state, params)  # whose own perturbations are replaced
        steps = state.std * perturbations(generation)
        if kind == "GuidedES":
            asked = asked.replace(z=steps)
        if kind == "PersistentES":
            asked = asked.replace(pert_accum=state.pert_accum + steps)
        if kind == "NoiseReuseES":
            steps = state.std * perturbations(generation - generation % TRUNCATIONS)
            asked = asked.replace(pert=steps)
        x = state.mean + steps
        state, _ = strategy.tell(key, x, jnp.asarray(fitness(np.asarray(x))), asked, params)
        found.append((state.mean, state.std * jnp.ones(D)))
    return tuple(np.array(column) for column in zip(*found, strict=True))


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    data = {}
    for kind in KINDS:
        data[kind], sigmas = means(kind)
        if kind == "PGPE":
            data["PGPE sigma"] = sigmas
    np.savez_compressed(Path(__file__).parent / "data" / "gradients.npz", **data)
