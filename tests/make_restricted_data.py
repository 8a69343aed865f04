"""Makes tests/data/restricted.npz: states of crfmnes' CR-FM-NES for test_dxnes.py, of pycma's VkD-CMA for test_vkdcmaes.py.

    python tests/make_restricted_data.py          # pip install crfmnes==1.0.0 cma==4.5.0; a second

The strategies are told the same candidates, by the normals of `normals` around the peer's own state, and their `fitness`. At
most half of a generation is infeasible: beyond that, the order of mirror images, which are as far from the mean, is any.
"""

from pathlib import Path

import numpy as np

CASES = ((6, 10), (14, 8))  # d, lam
GENERATIONS, SIGMA = 200, 0.5
VKD_CASES, VKD_GENERATIONS = ((12, 10, 2), (5, 12, 3), (6, 9, 0)), 200  # d, lam, k


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
        np.random.seed(generation)  # noqa: NPY002 - the peer draws from this generator
        peer.one_iteration()
        states.append([np.array(getattr(peer, name)).ravel() for name in names])
    return {name: np.stack(values) for name, values in zip(names, zip(*states, strict=True), strict=True)}


def ellipsoid(x: np.ndarray) -> np.ndarray:
    """(n,) of (n, d): turned, and off the origin."""
    d = x.shape[1]
    turned = (x - 0.3) @ np.linalg.qr(np.random.RandomState(d).randn(d, d))[0]
    return (10 ** (3 * np.arange(d) / (d - 1)) * turned**2).sum(axis=1)


def vkd_states(d: int, lam: int, k: int) -> dict[str, np.ndarray]:
    """Candidates x (VKD_GENERATIONS, lam, d), and the states after each generation."""
    from cma.restricted_gaussian_sampler import GaussVkDSampler

    peer, mu = GaussVkDSampler(d, kadapt=False, k_init=k), lam // 2
    raw = np.log((lam + 1) / 2) - np.log(np.arange(1, mu + 1))
    weights = np.concatenate([raw / raw.sum(), np.zeros(lam - mu)])
    mean, states = start(d), []
    for generation in range(VKD_GENERATIONS):
        peer.randn = np.random.RandomState(generation).randn
        x = (mean + SIGMA * np.asarray(peer.sample(lam))).astype(np.float32)
        order = np.argsort(ellipsoid(x.astype(float)))
        steps = (x.astype(float)[order] - mean) / SIGMA
        mean = mean + SIGMA * weights @ steps
        told = np.zeros((lam + 1, d))
        told[1 + np.argsort(weights)[::-1]] = steps  # as it sorts them, those of weight 0 too
        peer.update(told, np.concatenate([[0.1], weights]))
        states.append((x, mean, peer.sigma, peer.D.copy(), np.abs(peer.V), peer.S[:k].copy(), peer.pc.copy(), peer.ps))
    names = ("x", "mean", "sigma", "D", "V", "S", "pc", "ps")
    return {name: np.array(values) for name, values in zip(names, zip(*states, strict=True), strict=True)}


if __name__ == "__main__":
    data = {f"crfmnes {d} {lam} {name}": v for d, lam in CASES for name, v in crfmnes_states(d, lam).items()}
    data |= {f"vkd {d} {lam} {k} {name}": v for d, lam, k in VKD_CASES for name, v in vkd_states(d, lam, k).items()}
    np.savez_compressed(Path(__file__).parent / "data" / "restricted.npz", **data)
