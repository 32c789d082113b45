"""``sidestep init``: a first fleet file from what there is. The readers and ``draft`` are pure."""
