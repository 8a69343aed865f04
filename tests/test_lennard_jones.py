"""Lennard-Jones clusters against the published energies, other packages, and structures known from geometry."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxes.problems import lennard_jones
from jaxes.problems.lennard_jones import LOWEST

pytestmark = pytest.mark.quick

PEERS = np.load(Path(__file__).parent / "data" / "classic.npz")


def pair(x):
    """Energy and slope of a cluster, over all pairs twice."""
    atoms = x.reshape(-1, 3)
    apart = atoms[:, None] - atoms[None]
    square = (apart**2).sum(-1) + np.diag([np.inf] * len(atoms))
    sixth = square**-3.0
    slope = 4 * (6 * sixth - 12 * sixth**2) / square
    return 2 * (sixth * (sixth - 1)).sum(), (slope[:, :, None] * apart).sum(1).reshape(-1)


def relaxed(atoms):
    """The local minimum next to a structure with neighbours at a distance of about 1, centred."""
    start = 1.1 * np.reshape(atoms, -1)
    found = scipy.optimize.minimize(pair, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
    atoms = found.x.reshape(-1, 3)
    return atoms - atoms.mean(0)


def ring(count, height=0.0):
    angles = 2 * np.pi * np.arange(count) / count
    radius = 0.5 / np.sin(np.pi / count)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(count, height)], axis=1)


def icosahedron(shells):
    """Mackay's (1962): an atom, and shells of 12, 42, 92, ... around it."""
    golden = (1 + 5**0.5) / 2
    signs = np.array(list(itertools.product((1, -1), repeat=2)))
    corners = np.concatenate([np.roll(np.insert(signs * [1, golden], 0, 0, axis=1), turn, axis=1) for turn in range(3)])
    atoms = {(0.0, 0.0, 0.0)}
    faces = [f for f in itertools.combinations(corners, 3) if max(np.linalg.norm(f[i] - f[i - 1]) for i in range(3)) < 2.1]
    for shell, face in itertools.product(range(1, shells + 1), faces):
        for i in range(shell + 1):
            for j in range(shell + 1 - i):
                atom = i * face[0] + j * face[1] + (shell - i - j) * face[2]
                atoms.add(tuple(np.round(atom / 2, 9) + 0.0))
    return np.array(sorted(atoms))


def truncated_octahedron():
    """38 atoms of a face-centred cubic crystal around a hole."""
    points = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    points = points[(points.sum(1) % 2 == 1) & ((points**2).sum(1) <= 5)]
    return points / 2**0.5


POLES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
STRUCTURES = {
    2: POLES / 2,
    3: ring(3),
    4: np.concatenate([ring(3), 0.8 * POLES[:1]]),
    5: np.concatenate([ring(3), 0.8 * POLES]),
    6: np.concatenate([ring(4), 0.7 * POLES]),
    7: np.concatenate([ring(5), 0.5 * POLES]),
    13: icosahedron(1),
    38: truncated_octahedron(),
    55: icosahedron(2),
    147: icosahedron(3),
}


@pytest.mark.parametrize("atoms", STRUCTURES)
def test_the_lowest_energies_are_those_of_known_structures(atoms, x64):
    solution = relaxed(STRUCTURES[atoms])
    assert len(solution) == atoms
    problem = lennard_jones(atoms=atoms)
    assert (abs(solution) <= problem.space.upper).all()
    value, slope = jax.jit(jax.value_and_grad(problem))(jnp.asarray(solution.reshape(-1)))
    np.testing.assert_allclose(value, problem.optimal_value, atol=6e-7)
    np.testing.assert_allclose(slope, 0, atol=1e-4)


def test_the_table_of_lowest_energies():
    """Every atom lowers the energy, by less than 12 neighbours would; the list can not hold a slip larger than this."""
    assert len(LOWEST) == 149
    steps = -np.diff(LOWEST)
    assert (steps > 1.9).all()
    assert (steps < 12).all()
    # Kiessling (2023): the mean energy of a pair rises with the number of atoms.
    count = np.arange(2, 151)
    assert (np.diff(np.array(LOWEST) / (count * (count - 1))) > -1e-9).all()


@pytest.mark.parametrize("dimension", [9, 21, 39])
def test_energies_are_pygmos(dimension, x64):
    """pygmo leaves out six coordinates, which are 0: x, y, z of the first atom, x, y of the second, x of the third."""
    x, expected = (PEERS[f"pygmo/lennard_jones/{dimension}/{part}"] for part in "xf")
    zero = np.zeros((len(x), 1))
    full = np.concatenate([zero] * 5 + [x[:, :1], zero, x[:, 1:]], axis=1)
    np.testing.assert_allclose(jax.jit(jax.vmap(lennard_jones(dimension)))(jnp.asarray(full)), expected, rtol=1e-11)


@pytest.mark.parametrize("dimension", [6, 15])
def test_energies_are_opfunus_in_its_unit_of_length(dimension, x64):
    """opfunu counts in distances of lowest energy, r**-12 - 2 r**-6. It gives -77.1777043 for 20 atoms, where the Cambridge
    Cluster Database has -77.177043 (a digit too many, so that its target can not be reached), and takes 0 for the
    energy of two atoms at one place, which would be the best place if it were true of all of them.
    """
    x, expected = (PEERS[f"opfunu/lennard_jones/{dimension}/{part}"] for part in "xf")
    np.testing.assert_allclose(jax.jit(jax.vmap(lennard_jones(dimension)))(jnp.asarray(2 ** (1 / 6) * x)), expected, rtol=1e-10)
    assert float(lennard_jones(atoms=20).optimal_value) == -77.177043


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_atoms_at_one_place(dtype, x64):
    x = np.zeros((5, 9))
    x[1, 3:] = [1, 0, 0, 2, 0, 0]  # none together
    x[2, 3:] = [1, 0, 0, 1, 0, 0]  # two together
    x[3, 3:] = [1e-9, 0, 0, 1, 0, 0]  # almost
    x[4, 3:] = [1e60, 0, 0, -1e60, 0, 0] if dtype == np.float64 else [1e12, 0, 0, -1e12, 0, 0]  # far apart
    values = np.asarray(jax.jit(jax.vmap(lennard_jones(atoms=3)))(jnp.asarray(x, dtype)))
    assert values.dtype == dtype
    assert values[0] == values[2] == np.inf
    np.testing.assert_allclose(values[1], 4 * (2.0**-12 - 2.0**-6), rtol=1e-6)
    np.testing.assert_allclose(values[3], np.inf if dtype == np.float32 else 4e108, rtol=1e-6)
    assert values[4] == 0


def test_what_the_energy_does_not_depend_on(x64):
    random = np.random.RandomState(0)
    atoms = random.uniform(-3, 3, (7, 3))
    turn = np.linalg.qr(random.randn(3, 3))[0]
    copies = np.stack([atoms, atoms + np.arange(3), atoms @ turn, atoms[::-1]]).reshape(4, -1)
    values = jax.jit(jax.vmap(lennard_jones(21)))(jnp.asarray(copies))
    np.testing.assert_allclose(values, values[0], rtol=1e-9)


def test_sizes():
    assert lennard_jones().space.shape == (39,)
    assert lennard_jones(6).space.shape == lennard_jones(atoms=2).space.shape == (6,)
    assert lennard_jones(atoms=150).optimal_value == np.float32(-893.310258)
    problem = lennard_jones(atoms=151, half_width=4)
    assert problem.optimal_value is None
    assert problem.optimum is None
    assert float(problem.space.upper) == 4
    with pytest.raises(ValueError, match="not known"):
        problem.gap(jnp.zeros(453))
    for arguments, message in (
        ({"dimension": 7}, r"lennard_jones\(dimension=...\) must be a multiple of 3, x, y, z of each atom, got 7\."),
        ({"dimension": 3}, r"lennard_jones\(dimension=...\) must be at least 6, got 3\."),
        ({"atoms": 1}, r"lennard_jones\(atoms=...\) must be at least 2, got 1\."),
        ({"atoms": 2, "dimension": 6}, "not both, got dimension=6 and atoms=2"),
    ):
        with pytest.raises(ValueError, match=message):
            lennard_jones(**arguments)
    with pytest.raises(TypeError, match="must be an integer"):
        lennard_jones(atoms=3.0)
