"""Splitting and merging shards by ranges of keys (S1.20, S1.21)."""
