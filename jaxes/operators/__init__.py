"""Building blocks of strategies: pure functions and small values, on flat arrays."""
