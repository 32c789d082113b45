"""Replays of recorded load through the oracle: what a policy would have foreseen, missed and cried wolf about.

``python -m sidestep.autopilot.backtest`` is the command; docs/oracle.md describes it. Data
come in through ``recordings``, go through the real oracle in ``replay``, and what it said is
judged in ``events`` and ``scores`` only after it was said.
"""
