"""Part of the host sampler: a container whose /proc shows its machine, measured by its own control group."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sidestep.backends.sampler.host.facts import Groups
    from sidestep.backends.sampler.host.files import NOTHING, after, again, opened
    from sidestep.backends.sampler.host.machine import Machine


class Contained(Machine):
    """The container's processor time, memory and pressure; its network; nothing of the machine's."""

    def __init__(self, groups):
        # type: (Groups) -> None
        Machine.__init__(self)
        self.groups = groups
        top = b"/nowhere" if groups.v1 else groups.top(b"")
        self.group_cpu, self.group_io = opened(top + b"/cpu.stat"), opened(top + b"/io.stat")
        self.group_memory, self.group_sizes = opened(top + b"/memory.current"), opened(top + b"/memory.stat")
        self.group_swap = opened(top + b"/memory.swap.current")
        self.pressures = [opened(top + b"/" + kind + b".pressure") for kind in (b"cpu", b"memory", b"io", b"irq")]
        usage, memory = groups.top(b"cpuacct"), groups.top(b"memory")
        self.usage = opened(usage + b"/cpuacct.usage")
        self.inactive = b"\ninactive_file "
        if self.group_memory < 0:
            self.group_memory = opened(memory + b"/memory.usage_in_bytes")
            self.group_sizes, self.inactive = opened(memory + b"/memory.stat"), b"\ntotal_inactive_file "

    def processors(self):
        # type: () -> list[bytes]
        """User and system time of the container; modes that a group does not tell apart are in system."""
        self.forks = -1
        data = again(self.group_cpu, 1024)
        user, system = after(data, b"user_usec "), after(data, b"system_usec ")
        if user < 0:
            usage = again(self.usage, 40)
            if not usage:
                return [NOTHING] * 11
            user, system = int(usage) // 1000, 0
        return [b"%d" % user, b"0", b"%d" % system, NOTHING, NOTHING, b"0", b"0", b"0", NOTHING, NOTHING, NOTHING]

    def sizes(self):
        # type: () -> list[bytes]
        """Memory of the container out of what it may use."""
        limit, used = self.groups.memory(), again(self.group_memory, 40)
        stat, swap = again(self.group_sizes, 8192), again(self.group_swap, 40)
        if not used:
            return [NOTHING] * 6
        cache, dirty = after(stat, b"\nfile "), after(stat, b"\nfile_dirty ")
        working = max(0, int(used) - max(0, after(stat, self.inactive)))
        values = [
            limit,
            working,
            cache,
            dirty + max(0, after(stat, b"\nfile_writeback ")),
            -1,
            int(swap) if swap else -1,
        ]
        return [b"%d" % value if value >= 0 else NOTHING for value in values]

    def io(self):
        # type: () -> list[bytes]
        """Sums over the devices of the group."""
        if self.group_io < 0:
            return [NOTHING] * 5
        names = (b"rios", b"rbytes", b"wios", b"wbytes")
        sums = dict.fromkeys(names, 0)
        for word in again(self.group_io).split():
            key, _, value = word.partition(b"=")
            if key in sums:
                sums[key] += int(value)
        return [b"%d" % sums[name] for name in names] + [NOTHING]
