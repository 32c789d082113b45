"""How much a function gains from shards, and whether it is worth it."""
