"""Which loops may run as shards: independent iterations, reductions, guards that are checked when they start."""
