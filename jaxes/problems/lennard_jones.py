"""Clusters of atoms: where is the energy of n atoms that attract and repel each other least?

J. E. Jones, Proc. R. Soc. A 106 (1924), 463-477, in units of the well's depth and of the distance where the energy of a
pair is 0. Optimal values: Wales et al., Cambridge Cluster Database, table of Lennard-Jones clusters of 2 to 150 atoms;
see Wales & Doye, J. Phys. Chem. A 101 (1997), 5111-5116.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import check_integer
from jaxes.problems.problem import Problem
from jaxes.space import Box

# fmt: off
LOWEST = (  # of 2, 3, ... atoms
    -1.000000, -3.000000, -6.000000, -9.103852, -12.712062, -16.505384, -19.821489, -24.113360, -28.422532, -32.765970,
    -37.967600, -44.326801, -47.845157, -52.322627, -56.815742, -61.317995, -66.530949, -72.659782, -77.177043,
    -81.684571, -86.809782, -92.844472, -97.348815, -102.372663, -108.315616, -112.873584, -117.822402, -123.587371,
    -128.286571, -133.586422, -139.635524, -144.842719, -150.044528, -155.756643, -161.825363, -167.033672, -173.928427,
    -180.033185, -185.249839, -190.536277, -196.277534, -202.364664, -207.688728, -213.784862, -220.680330, -226.012256,
    -232.199529, -239.091864, -244.549926, -251.253964, -258.229991, -265.203016, -272.208631, -279.248470, -283.643105,
    -288.342625, -294.378148, -299.738070, -305.875476, -312.008896, -317.353901, -323.489734, -329.620147, -334.971532,
    -341.110599, -347.252007, -353.394542, -359.882566, -366.892251, -373.349661, -378.637253, -384.789377, -390.908500,
    -397.492331, -402.894866, -409.083517, -414.794401, -421.810897, -428.083564, -434.343643, -440.550425, -446.924094,
    -452.657214, -459.055799, -465.384493, -472.098165, -479.032630, -486.053911, -492.433908, -498.811060, -505.185309,
    -510.877688, -517.264131, -523.640211, -529.879146, -536.681383, -543.665361, -550.666526, -557.039820, -563.411308,
    -569.363652, -575.766131, -582.086642, -588.266501, -595.061072, -602.007110, -609.033011, -615.411166, -621.788224,
    -628.068416, -634.874626, -641.794704, -648.833100, -655.756307, -662.809353, -668.282701, -674.769635, -681.419158,
    -687.021982, -693.819577, -700.939379, -707.802109, -714.920896, -721.303235, -727.349853, -734.479629, -741.332100,
    -748.460647, -755.271073, -762.441558, -768.042203, -775.023203, -782.206157, -790.278120, -797.453259, -804.631473,
    -811.812780, -818.993848, -826.174676, -833.358586, -840.538610, -847.721698, -854.904499, -862.087012, -869.272573,
    -876.461207, -881.072971, -886.693405, -893.310258,
)
# fmt: on


def _lennard_jones(x: jax.Array) -> jax.Array:
    atoms = x.reshape(-1, 3)
    first, second = np.triu_indices(atoms.shape[0], 1)
    square = jnp.sum(jnp.square(atoms[first] - atoms[second]), axis=1)
    attraction = 1 / square**3
    # As a product: the difference of the powers would be inf - inf = NaN where two atoms meet.
    return 4 * jnp.sum(attraction * (attraction - 1))


def lennard_jones(dimension: int | None = None, *, atoms: int | None = None, half_width: float = 3.0) -> Problem:
    """Lennard-Jones cluster: as many local optima as structures. Optimum -44.326801 with 13 atoms; box +-3.

    The sum of 4 (r**-12 - r**-6) over the distances r of all pairs of atoms. A solution holds x, y, z of the first atom,
    then of the second, ...: nothing is fixed, so that every cluster may be moved and turned. Infinite where two atoms
    meet, and where r**-12 overflows. The optimal value is the lowest known, to six decimals: it is proven for the
    smallest clusters alone, and a gap below 1e-6 says nothing. It is not known (None) for more than 150 atoms, and no
    optimum is given.

    Args:
        dimension: 3 times the number of atoms; default: 39.
        atoms: instead of `dimension`, any number of atoms from 2.
        half_width: of the box. 3 is pygmo's, and has room for all sizes in the table: the best cluster of 150 atoms,
            turned well, is 5.5 wide.

    Raises:
        ValueError: fewer than 2 atoms, a dimension that is no multiple of 3, both a dimension and a number of atoms.
    """
    name = "lennard_jones"
    if dimension is not None and atoms is not None:
        raise ValueError(f"{name} takes dimension or atoms, not both, got dimension={dimension} and atoms={atoms}.")
    if dimension is not None:
        dimension = check_integer(name, "dimension", dimension, 6)
        if dimension % 3:
            raise ValueError(f"{name}(dimension=...) must be a multiple of 3, x, y, z of each atom, got {dimension}.")
        atoms = dimension // 3
    atoms = check_integer(name, "atoms", 13 if atoms is None else atoms, 2)
    space = Box(-half_width, half_width, shape=(3 * atoms,))
    lowest = np.asarray(LOWEST[atoms - 2], space.dtype) if atoms - 2 < len(LOWEST) else None
    return Problem(_lennard_jones, space, optimal_value=lowest, name=name)
