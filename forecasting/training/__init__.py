"""Champions and challengers: a process of its own tries forecasters on the fleet's own history.

This package itself imports nothing; ``messages`` and ``protocol`` are light, the rest is for the process.
"""
