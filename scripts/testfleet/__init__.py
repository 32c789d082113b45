"""Real hosts for tests, on one machine: systemd as PID 1, sshd, an address, limits and faults of their own.

``python -m scripts.testfleet`` is the command line; docs/testfleet.md says how and why.
"""
