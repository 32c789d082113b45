"""What the rest of sidestep reads from a panel: in its units, all hosts or shards at a time; pure."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sidestep.backends.sampler.protocol import HOST, SHARD
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED

F64 = NDArray[np.float64]

#: modes in which a processor works for this host; steal is work for somebody else
BUSY: Final = ("cpu_nice", "cpu_system", "cpu_irq", "cpu_softirq")
#: use of which resources is the rate or gauge of which column
_USE: Final = {
    "memory": "mem_used",
    "read_ops": "disk_reads",
    "write_ops": "disk_writes",
    "net_rx": "net_rx_bytes",
    "net_tx": "net_tx_bytes",
}
_PRESSURE: Final = ("psi_cpu_some", "psi_memory_some", "psi_io_some")
#: microseconds a second, as a percentage
_PERCENT: Final = 1e4
_CORE: Final = 1e6
#: what the history keeps of every host, in this order; shares are percent, steal is cores
SERIES: Final = (*DIMENSIONS, "pressure_cpu", "pressure_memory", "pressure_io", "steal", "swap", "disk_busy")


class Numbers(Protocol):
    """The columns of a panel that are read here."""

    @property
    def rates(self) -> F64:
        """(H, HOST_COLUMNS)."""
        ...

    @property
    def shard_rates(self) -> F64:
        """(S, SHARD_COLUMNS)."""
        ...


def use(panel: Numbers) -> F64:
    """(H, DIMENSIONS) in the units of ``fleet.resources``; NaN is unknown.

    Cpu is the time in user, nice, system, irq and softirq. A host that knows only its user
    time (a process tree that is taken for a host) uses that; unknown user time is unknown use.
    """
    rates = panel.rates
    out = np.empty((len(rates), len(DIMENSIONS)))
    out[:, CPU] = (rates[:, HOST["cpu_user"]] + np.nansum(rates[:, [HOST[name] for name in BUSY]], axis=1)) / _CORE
    for dimension, column in _USE.items():
        out[:, DIMENSIONS.index(dimension)] = rates[:, HOST[column]]
    return out


def pressure(panel: Numbers) -> F64:
    """(H, 3) percent of the time between the last two samples in which some task waited for cpu, memory, io."""
    shares: F64 = panel.rates[:, [HOST[name] for name in _PRESSURE]] / _PERCENT
    # totals and time are not read at one instant
    return np.minimum(shares, 100.0)


def steal(panel: Numbers) -> F64:
    """(H,) cores that the machine below gave to others while this host wanted them."""
    return np.asarray(panel.rates[:, HOST["cpu_steal"]] / _CORE)


def series(panel: Numbers) -> tuple[tuple[str, ...], F64]:
    """Names, and (H, names): what is worth keeping of every host.

    Use as above, pressure in percent, steal in cores, swap in bytes, and how much of the
    time disks were busy in percent, summed over disks.
    """
    rates = panel.rates
    rest = steal(panel), rates[:, HOST["swap_used"]], rates[:, HOST["disk_busy"]] / _PERCENT
    return SERIES, np.column_stack([use(panel), pressure(panel), *rest])


def shard_use(panel: Numbers) -> F64:
    """(S, PLANNED): cores and bytes of every shard row; NaN is unknown."""
    rates = panel.shard_rates
    out = np.empty((len(rates), PLANNED))
    out[:, CPU], out[:, MEMORY] = rates[:, SHARD["cpu"]] / _CORE, rates[:, SHARD["memory"]]
    return out
