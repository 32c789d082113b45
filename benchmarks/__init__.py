"""Benchmarks: ``python -m benchmarks.NAME [--quick] [--json]``, all through ``harness``."""
