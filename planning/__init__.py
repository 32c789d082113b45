"""Proposals: pure functions from a snapshot and a forecast to a plan (floor 2).

No clock, no randomness without a seed, no I/O: the same input gives the same bytes.
"""
