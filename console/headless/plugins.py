"""``plugin``: what is installed is told by a process of its own, so that no plugin's code is ever in a console."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def run(module: str, arguments: Sequence[str]) -> int:
    """Run ``python -m MODULE`` with our own standard streams; its exit code."""
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
