"""The domain: hosts, shards, placement, plans and their state machines, columns (floor 1).

Pure values and functions: nothing here does I/O, and nothing here imports another of
our floors. ``snapshot``, ``history`` and ``forecast`` need numpy; every other module
must import without it, because the console paints before numpy is loaded.
"""
