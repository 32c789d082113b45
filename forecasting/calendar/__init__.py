"""What the calendar knows of the load to come: timers, cron tables, announced events.

``Calendar`` learns how series answer to occasions and says what to add to a forecast.
``newwork`` is about work that is not there yet. Both need numpy and msgspec only.
"""

from sidestep.forecasting.calendar.calendar import Calendar
from sidestep.forecasting.calendar.profiles import Uplift

__all__ = ["Calendar", "Uplift"]
