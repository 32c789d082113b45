"""The highest demand of a window: its chance of being too high, made honest by what came (pure numpy)."""

from sidestep.forecasting.peak.book import ChanceBook
from sidestep.forecasting.peak.common import CommonFactor
from sidestep.forecasting.peak.raw import at_knots, raw_chance

__all__ = ["ChanceBook", "CommonFactor", "at_knots", "raw_chance"]
