"""The made problems that all tests of the planner's cores share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
