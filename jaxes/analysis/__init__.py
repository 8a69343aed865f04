"""What the runs say: tables, plots and how strategies compare."""

from jaxes.analysis.comparison import compare, compare_problems
from jaxes.analysis.plots import plot_convergence, plot_landscape, plot_sweep
from jaxes.analysis.runtime import Runtimes, ert_table, group_table
from jaxes.analysis.runtime_plots import plot_ecdf, plot_ert, plot_scaling
from jaxes.analysis.table import Table, evaluations_to_target, summary, sweep_table

__all__ = [
    "Runtimes",
    "Table",
    "compare",
    "compare_problems",
    "ert_table",
    "evaluations_to_target",
    "group_table",
    "plot_convergence",
    "plot_ecdf",
    "plot_ert",
    "plot_landscape",
    "plot_scaling",
    "plot_sweep",
    "summary",
    "sweep_table",
]
