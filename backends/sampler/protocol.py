"""Protocol 2 of the host sampler: which numbers a record holds, in which order and unit.

Lines of ASCII, one record each. Host to console:

    H2 <pid> <kernel> <clk_tck> <kind> <boot>    greeting, first; ``boot`` are 8 hex digits or -
    F <key>=<value> ...                          facts that do not change: see FACTS
    K <host> <shard> <name,name,...|->           schema: how many numbers a host and a shard, names of shards, sorted
    V <seq> <mono_ms> <number|-> ...             values: HOST_COLUMNS, then SHARD_COLUMNS of every shard
    T <name>@<next>/<period>,...|-               scheduled tasks: unix time of the next run, seconds between runs or -
    E <code> <text>                              the sampler gives up, and why

Console to host: ``i<ms>`` interval, ``l<s>`` lease, ``n`` a sample now, ``q`` end. Counters are
totals, so that a lost line heals by itself; ``-`` is unknown. Numbers are decimal, without
sign or exponent. Times are microseconds, sizes bytes.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2
MAX_LINE: Final = 256 * 1024

#: column, and whether it is a counter (a total that only grows until it is reset) or a gauge
HOST_COLUMNS: Final = (
    # processor time since boot in each mode, all cores together; user and nice include guests
    ("cpu_user", "counter"),
    ("cpu_nice", "counter"),
    ("cpu_system", "counter"),
    ("cpu_idle", "counter"),
    ("cpu_iowait", "counter"),
    ("cpu_irq", "counter"),
    ("cpu_softirq", "counter"),
    ("cpu_steal", "counter"),
    ("load1", "gauge"),
    ("procs_running", "gauge"),
    ("procs_blocked", "gauge"),
    # PSI totals: how long some or all tasks stood still
    ("psi_cpu_some", "counter"),
    ("psi_cpu_full", "counter"),
    ("psi_memory_some", "counter"),
    ("psi_memory_full", "counter"),
    ("psi_io_some", "counter"),
    ("psi_io_full", "counter"),
    ("psi_irq_full", "counter"),
    ("mem_total", "gauge"),
    # what could not be handed out: total - available
    ("mem_used", "gauge"),
    # page cache, buffers and reclaimable slab without shared memory
    ("mem_cached", "gauge"),
    # dirty and being written back
    ("mem_dirty", "gauge"),
    ("swap_total", "gauge"),
    ("swap_used", "gauge"),
    # sums over whole disks (no partitions, nothing stacked on disks)
    ("disk_reads", "counter"),
    ("disk_read_bytes", "counter"),
    ("disk_writes", "counter"),
    ("disk_write_bytes", "counter"),
    ("disk_busy", "counter"),
    # sums over network cards, or over whatever there is but loopback
    ("net_rx_bytes", "counter"),
    ("net_rx_packets", "counter"),
    ("net_rx_drops", "counter"),
    ("net_tx_bytes", "counter"),
    ("net_tx_packets", "counter"),
    ("net_tx_drops", "counter"),
    # the host's own clock, unix milliseconds: only to see that it is wrong
    ("wall_ms", "gauge"),
)

SHARD_COLUMNS: Final = (
    # 0 when its process is gone
    ("pid", "gauge"),
    # the fencing token that it was started with
    ("token", "gauge"),
    # 1 running, 0 stopped, frozen or gone
    ("running", "gauge"),
    ("cpu", "counter"),
    ("memory", "gauge"),
    # time and times that a cgroup's quota held it back
    ("throttled", "counter"),
    ("throttles", "counter"),
    ("read_bytes", "counter"),
    ("write_bytes", "counter"),
    ("psi_cpu_some", "counter"),
)

#: keys of F, and what their values say
FACTS: Final = {
    "cpus": "cores that the host's tasks may use (affinity and cgroup quota considered), such as 4 or 0.5",
    "memory": "bytes that they may use (the smaller of MemTotal and the cgroup's limit)",
    "cgroup": "v1, v2, hybrid or none",
    "container": "none, lxcfs (numbers are the container's), bare (a container that shows its machine's numbers)",
    "psi": "yes or no",
    "os": "ID of os-release, such as debian",
    "tree": "pid of the process tree that is taken for the host, in embedded fleets",
}

HOST: Final = {name: column for column, (name, _) in enumerate(HOST_COLUMNS)}
SHARD: Final = {name: column for column, (name, _) in enumerate(SHARD_COLUMNS)}
