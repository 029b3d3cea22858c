"""Training: the loop, its files, and what `qbnn train` and `qbnn eval` do."""
