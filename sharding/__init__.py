"""Functions cut into blocks: static analysis, data contracts, capsules (floor 2, pure).

Nothing lives here yet; the folder holds the floor so that the layers are checked from the start.
"""
