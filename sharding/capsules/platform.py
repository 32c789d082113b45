"""What a host is to a computation: the same fingerprint gives the same bits."""

from __future__ import annotations

import functools
import hashlib
import platform
from typing import Any

import numpy as np

from sidestep.fleet.capsules import Fingerprint


@functools.cache
def fingerprint() -> Fingerprint:
    """Of this process."""
    build: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    blas = build.get("Build Dependencies", {}).get("blas", {})
    found = ",".join(build.get("SIMD Extensions", {}).get("found", []))
    return Fingerprint(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        numpy=np.__version__,
        blas=f"{blas.get('name', '')} {blas.get('version', '')}".strip(),
        machine=platform.machine(),
        features=hashlib.blake2b(found.encode(), digest_size=8).hexdigest(),
        hashes=hash("sidestep") & 0xFFFFFFFF,
    )


def differences(one: Fingerprint, other: Fingerprint) -> tuple[str, ...]:
    """What is not alike; seeds of hashes are none of it, since sets are checked one by one."""
    return tuple(
        f"{name} {getattr(one, name)!r} is not {getattr(other, name)!r}"
        for name in ("python", "numpy", "blas", "machine", "features")
        if getattr(one, name) != getattr(other, name)
    )
