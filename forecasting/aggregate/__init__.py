"""Several forecasters of every series at once, weighed by how they did, with bands that learn from their misses."""
