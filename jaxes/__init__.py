"""jaxes: GPU-batched evolution strategies on JAX."""

from jaxes import analysis, problems
from jaxes.bounds import Clip, Reflect, Resample, Smooth, Wrap
from jaxes.checkpoint import Checkpoint
from jaxes.host import Host
from jaxes.islands import Islands
from jaxes.loop import run
from jaxes.minimize import Report, minimize
from jaxes.operators.optimizers import clipup
from jaxes.operators.step_size import OneFifth, Schedule, SelfAdaptation
from jaxes.portfolio import Portfolio
from jaxes.problems import Problem
from jaxes.reevaluate import Reevaluate
from jaxes.restart import Restart
from jaxes.result import History, Result
from jaxes.score import score
from jaxes.space import Box, as_space
from jaxes.stop import Stop, StopReason
from jaxes.strategies import (
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
    ElitistCMAES,
    GuidedES,
    IAMaLGaM,
    NoiseReuseES,
    OpenAIES,
    PersistentES,
    SepCMAES,
    VkDCMAES,
)
from jaxes.strategy import State, Strategy
from jaxes.sweep import SweepResult, sweep

__version__ = "0.1.0"

__all__ = [
    "ARS",
    "CEM",
    "CMAES",
    "CRFMNES",
    "DE",
    "DXNESIC",
    "ES",
    "JDE",
    "LMMAES",
    "LRACMAES",
    "MAES",
    "PGPE",
    "SHADE",
    "SNES",
    "XNES",
    "Box",
    "Checkpoint",
    "Clip",
    "ElitistCMAES",
    "GuidedES",
    "History",
    "Host",
    "IAMaLGaM",
    "Islands",
    "NoiseReuseES",
    "OneFifth",
    "OpenAIES",
    "PersistentES",
    "Portfolio",
    "Problem",
    "Reevaluate",
    "Reflect",
    "Report",
    "Resample",
    "Restart",
    "Result",
    "Schedule",
    "SelfAdaptation",
    "SepCMAES",
    "Smooth",
    "State",
    "Stop",
    "StopReason",
    "Strategy",
    "SweepResult",
    "VkDCMAES",
    "Wrap",
    "analysis",
    "as_space",
    "clipup",
    "minimize",
    "problems",
    "run",
    "score",
    "sweep",
]
