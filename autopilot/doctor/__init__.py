"""``sidestep doctor``: tries every host of a fleet, and says what is wrong and what to do.

``findings`` and ``judge`` are pure; ``probe`` and ``examine`` do the looking.
"""
