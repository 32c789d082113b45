"""``python -m scripts.testfleet``."""

from __future__ import annotations

import sys

from scripts.testfleet.cli import main

if __name__ == "__main__":
    sys.exit(main())
