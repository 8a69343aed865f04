"""VkD-CMA-ES against its authors' code in pycma, step by step, and what its few directions are for."""

from pathlib import Path

import jax
import make_restricted_data as peer_data
import numpy as np
import pytest

from jaxes import Box, VkDCMAES

DATA = np.load(Path(__file__).parent / "data" / "restricted.npz")


@pytest.mark.parametrize(("d", "lam", "k"), peer_data.VKD_CASES)
def test_steps_are_those_of_pycmas_sampler(d, lam, k, x64):
    """The same candidates and fitness told to both, 100 generations; more and fewer samples than coordinates."""
    peer = {name: DATA[f"vkd {d} {lam} {k} {name}"] for name in ("x", "mean", "sigma", "D", "V", "S", "pc", "ps")}
    space = Box(-np.inf, np.inf, shape=d)
    strategy = VkDCMAES(space, lam=lam, directions=k, start=peer_data.start(d), sigma=peer_data.SIGMA)
    state, tell = strategy.init(0), jax.jit(strategy.tell)
    for generation in range(peer_data.VKD_GENERATIONS):
        x = peer["x"][generation].astype(float)
        state = tell(state, x, peer_data.ellipsoid(x))
        after = {name: values[generation] for name, values in peer.items()}
        np.testing.assert_allclose(peer_data.SIGMA * state.mean, after["mean"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.sigma, after["sigma"], rtol=1e-9)
        np.testing.assert_allclose(state.scales, after["D"], rtol=1e-9)
        np.testing.assert_allclose(state.excess, after["S"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.abs(state.vectors), after["V"], atol=1e-9)
        np.testing.assert_allclose(state.path_c, after["pc"], atol=1e-9)
        np.testing.assert_allclose(state.success, after["ps"], atol=1e-9)
    np.testing.assert_allclose(state.vectors @ state.vectors.T, np.eye(k), atol=1e-12)
