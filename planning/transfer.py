"""How long a move takes: an estimate from the size of the state that it carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TransferModel(Struct, frozen=True, kw_only=True):
    """A straight line through measured moves; the defaults are a slow start on a shared gigabit.

    ``freeze_share`` is the part of the state that is carried while the shard stands still:
    1 without pre-copy, less where deltas are small.
    """

    bytes_per_s: float = 40e6
    #: connecting, preparing, verifying and releasing, in seconds
    fixed_s: float = 2.0
    freeze_fixed_ms: float = 250.0
    freeze_share: float = 1.0

    def estimate(self, size: float) -> tuple[float, float]:
        """Seconds that the whole move takes, and milliseconds for which the shard is frozen."""
        carrying = size / self.bytes_per_s
        return self.fixed_s + carrying, self.freeze_fixed_ms + carrying * self.freeze_share * 1000.0

    def seconds(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds that whole moves take, one for each size in bytes."""
        return self.fixed_s + sizes / self.bytes_per_s


DEFAULT_TRANSFER = TransferModel()
