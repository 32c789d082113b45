"""What the benchmark of pools is made of."""
