"""The fault matrix: every step of every action, met by every fault, on real fleets (docs/faults.md).

``python -m scripts.faultmatrix --fleet embedded``; ``--help`` says the rest.
"""
