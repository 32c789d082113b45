"""sidestep moves work out of the way before hosts run hot.

The folders at the top of the repository are the sub-packages of this one; the
links in this folder make them importable as ``sidestep.fleet`` and so on.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
