"""Makes tests/data/restricted.npz: states of crfmnes' CR-FM-NES, for test_dxnes.py.

    python tests/make_restricted_data.py          # pip install crfmnes==1.0.0; a second

The strategies are told the same candidates, by the normals of `normals` around the peer's own state, and their `fitness`. At
most half of a generation is infeasible: beyond that, the order of mirror images, which are as far from the mean, is any.
"""

from pathlib import Path

import numpy as np

CASES = ((6, 10), (14, 8))  # d, lam
GENERATIONS, SIGMA = 120, 0.5


def start(d: int) -> np.ndarray:
    return np.linspace(2.0, 3.0, d)


def normals(generation: int, d: int, count: int) -> np.ndarray:
    """(d, count)"""
    return np.random.RandomState(generation).randn(d, count)


def fitness(x: np.ndarray) -> np.ndarray:
    """(n,) of (n, d): a tilted ellipsoid with ripples, infinite beyond a bent wall."""
    d = x.shape[1]
    turned = x + x[:, ::-1] / 2 - 1
    value = (10 ** (3 * np.arange(d) / (d - 1)) * turned**2).sum(axis=1) + 300 * np.cos(9 * turned).sum(axis=1)
    return np.where(x[:, 0] + np.sin(3 * x[:, 1]) > 2.6, np.inf, value)


def crfmnes_states(d: int, lam: int) -> dict[str, np.ndarray]:
    """(GENERATIONS + 1, ...) each, the first before the first generation."""
    from crfmnes import CRFMNES

    np.random.seed(1000 * d)  # noqa: NPY002 - the peer draws from it
    peer = CRFMNES(d, lambda x: fitness(x.T)[0], start(d)[:, None].copy(), SIGMA, lam)
    names = ("m", "sigma", "D", "v", "ps", "pc")
    states = [[np.array(getattr(peer, name)).ravel() for name in names]]
    for generation in range(GENERATIONS):
        np.random.seed(generation)  # noqa: NPY002
        peer.one_iteration()
        states.append([np.array(getattr(peer, name)).ravel() for name in names])
    return {name: np.stack(values) for name, values in zip(names, zip(*states, strict=True), strict=True)}


if __name__ == "__main__":
    data = {f"crfmnes {d} {lam} {name}": v for d, lam in CASES for name, v in crfmnes_states(d, lam).items()}
    np.savez_compressed(Path(__file__).parent / "data" / "restricted.npz", **data)
