"""One file per family of algorithms, and the list of all of them."""

from jaxes.strategies.cmaes import CMAES
from jaxes.strategies.es import ES

ALL = (ES, CMAES)
"""Every public strategy. The tests, the command line and the benchmarks read this list."""
