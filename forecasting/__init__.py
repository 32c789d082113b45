"""The oracle: sktime estimators over the whole panel, contention, accounts (floor 2).

sktime, pandas and scipy are imported only by the worker process; ``client`` is what the
daemon imports.
"""
