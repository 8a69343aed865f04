"""jaxes: GPU-batched evolution strategies on JAX."""

from jaxes import analysis, problems
from jaxes.bounds import Clip, Reflect, Resample, Smooth, Wrap
from jaxes.loop import run
from jaxes.minimize import Report, minimize
from jaxes.operators.step_size import OneFifth, Schedule, SelfAdaptation
from jaxes.problems import Problem
from jaxes.restart import Restart
from jaxes.result import History, Result
from jaxes.score import score
from jaxes.space import Box, as_space
from jaxes.stop import Stop, StopReason
from jaxes.strategies import CEM, CMAES, DE, ES, JDE, LMMAES, MAES, SHADE, SNES, XNES, ElitistCMAES, IAMaLGaM, SepCMAES
from jaxes.sweep import SweepResult, sweep

__version__ = "0.1.0"

__all__ = [
    "CEM",
    "CMAES",
    "DE",
    "ES",
    "JDE",
    "LMMAES",
    "MAES",
    "SHADE",
    "SNES",
    "XNES",
    "Box",
    "Clip",
    "ElitistCMAES",
    "History",
    "IAMaLGaM",
    "OneFifth",
    "Problem",
    "Reflect",
    "Report",
    "Resample",
    "Restart",
    "Result",
    "Schedule",
    "SelfAdaptation",
    "SepCMAES",
    "Smooth",
    "Stop",
    "StopReason",
    "SweepResult",
    "Wrap",
    "analysis",
    "as_space",
    "minimize",
    "problems",
    "run",
    "score",
    "sweep",
]
