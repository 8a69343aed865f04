"""What the runs say: tables and plots."""

from jaxes.analysis.plots import plot_convergence, plot_landscape, plot_sweep
from jaxes.analysis.table import Table, evaluations_to_target, summary, sweep_table

__all__ = [
    "Table",
    "evaluations_to_target",
    "plot_convergence",
    "plot_landscape",
    "plot_sweep",
    "summary",
    "sweep_table",
]
