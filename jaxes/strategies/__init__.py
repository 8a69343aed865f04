"""One file per family of algorithms, and the list of all of them."""

from jaxes.strategies.cmaes import CMAES
from jaxes.strategies.de import DE, JDE, SHADE
from jaxes.strategies.dxnes import CRFMNES, DXNESIC
from jaxes.strategies.eda import CEM, IAMaLGaM
from jaxes.strategies.elitistcmaes import ElitistCMAES
from jaxes.strategies.es import ES
from jaxes.strategies.gradients import ARS, PGPE, GuidedES, OpenAIES
from jaxes.strategies.lmmaes import LMMAES
from jaxes.strategies.lracmaes import LRACMAES
from jaxes.strategies.maes import MAES
from jaxes.strategies.nes import SNES, XNES
from jaxes.strategies.sepcmaes import SepCMAES
from jaxes.strategies.unrolled import NoiseReuseES, PersistentES
from jaxes.strategies.vkdcmaes import VkDCMAES

ALL = (
    ES,
    CMAES,
    LRACMAES,
    SepCMAES,
    MAES,
    ElitistCMAES,
    LMMAES,
    VkDCMAES,
    XNES,
    SNES,
    DXNESIC,
    CRFMNES,
    CEM,
    IAMaLGaM,
    DE,
    JDE,
    SHADE,
    OpenAIES,
    PGPE,
    ARS,
    GuidedES,
    PersistentES,
    NoiseReuseES,
)
"""Every public strategy. The tests, the command line and the benchmarks read this list."""
