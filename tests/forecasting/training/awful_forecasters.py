"""Forecasters as bad as anybody's own may be; named by path as a fleet file would name them."""

from __future__ import annotations

import os
import time
from typing import ClassVar

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster


class Base(BaseForecaster):
    """Says 1 for ever, and no intervals."""

    _tags: ClassVar = {"y_inner_mtype": "pd.Series", "requires-fh-in-fit": False, "capability:pred_int": False}

    def _fit(self, y, X=None, fh=None):
        self.last_ = float(y.iloc[-1])
        return self

    def _predict(self, fh, X=None):
        return self._said(fh, np.full(len(fh), 1.0))

    def _said(self, fh, values):
        return pd.Series(values, index=fh.to_absolute_index(self.cutoff), name="y")


class Bad(Base):
    """Far from everything."""

    def _predict(self, fh, X=None):
        return self._said(fh, np.full(len(fh), self.last_ * 2 + 5))


class Aborts(Base):
    """A fault in a compiled extension."""

    def _fit(self, y, X=None, fh=None):
        os.abort()


class Loops(Base):
    """Never comes back."""

    def _fit(self, y, X=None, fh=None):
        while True:
            pass


class Sleeps(Base):
    """Never comes back, and uses nothing."""

    def _fit(self, y, X=None, fh=None):
        while True:
            time.sleep(60)


class Grows(Base):
    """Takes all the memory there is."""

    def _fit(self, y, X=None, fh=None):
        self.hoard_ = []
        while True:
            self.hoard_.append(np.ones(1 << 24))


class Garbage(Base):
    """Says what is no number."""

    def _predict(self, fh, X=None):
        return self._said(fh, np.full(len(fh), np.nan))


class Raises(Base):
    """Always fails."""

    def _fit(self, y, X=None, fh=None):
        raise RuntimeError("I do not like this series")


class Exits(Base):
    """Ends its process, and talks."""

    def _fit(self, y, X=None, fh=None):
        print("bye\n" * 1000)
        os._exit(0)


class Slow(Base):
    """Takes a tenth of a second of the processor for every fit, and then says what was one season ago: too dear."""

    def __init__(self, sp=24):
        self.sp = sp
        super().__init__()

    def _fit(self, y, X=None, fh=None):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        self.season_ = y.to_numpy()[-self.sp :]
        return self

    def _predict(self, fh, X=None):
        ahead = np.asarray(fh.to_relative(self.cutoff).to_numpy()).astype(int)
        return self._said(fh, self.season_[(ahead - 1) % self.sp])


class Season(Slow):
    """The same at once."""

    def _fit(self, y, X=None, fh=None):
        self.season_ = y.to_numpy()[-self.sp :]
        return self


class NoForecaster:
    """Not one at all."""
