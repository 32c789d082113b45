"""Part of the host sampler: the numbers of a whole machine."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sidestep.backends.sampler.host.files import (
        NOTHING,
        TICK,
        again,
        lines,
        number,
        opened,
        size_after,
        stalls,
        there,
    )

VIRTUAL_DISKS = (b"loop", b"ram", b"zram", b"dm-", b"md", b"sr", b"fd", b"nbd")


class Machine:
    """A whole machine: its kernel's own counters."""

    forks = -1

    def __init__(self):
        # type: () -> None
        self.stat, self.memory = opened(b"/proc/stat"), opened(b"/proc/meminfo")
        self.load = opened(b"/proc/loadavg")
        self.disks, self.cards = opened(b"/proc/diskstats"), opened(b"/proc/net/dev")
        self.pressures = [opened(b"/proc/pressure/" + kind) for kind in (b"cpu", b"memory", b"io", b"irq")]
        self.disk_keys = self.card_keys = ()  # type: tuple[bytes, ...]
        self.disk_count = self.card_count = -1
        self.majors = ()  # type: tuple[bytes, ...]

    def tokens(self):
        # type: () -> list[bytes]
        """Its numbers in the order of HOST_COLUMNS, but the last."""
        out = []  # type: list[bytes]
        for count, part in ((11, self.processors), (7, self.stalled), (6, self.sizes), (5, self.io), (6, self.traffic)):
            try:
                out += part()
            except (ValueError, IndexError, OSError):
                out += [NOTHING] * count
        return out

    def processors(self):
        # type: () -> list[bytes]
        """Time in each mode, load, and how many tasks run and are blocked."""
        data = again(self.stat, 65536)
        words = data[: data.find(b"\n")].split()
        out = [b"%d" % (int(word) * TICK) for word in words[1:9]]
        out += [NOTHING] * (8 - len(out))
        out.append(again(self.load, 128).split(b" ", 1)[0] or NOTHING)
        at = data.rfind(b"\nprocesses ") + 11
        running = data.find(b"\nprocs_running ", at) + 15
        blocked = data.find(b"\nprocs_blocked ", running) + 15
        if at < 11 or running < 15 or blocked < 15:
            return out + [NOTHING, NOTHING]
        self.forks = int(data[at : running - 15])
        out += [data[running : blocked - 15], data[blocked : data.find(b"\n", blocked)]]
        return out

    def stalled(self):
        # type: () -> list[bytes]
        """PSI totals."""
        out = []  # type: list[bytes]
        for descriptor in self.pressures:
            out += stalls(again(descriptor, 512)) if descriptor >= 0 else (NOTHING, NOTHING)
        del out[6]
        return out

    def sizes(self):
        # type: () -> list[bytes]
        """Memory and swap."""
        data = again(self.memory)
        total, available = size_after(data, b"MemTotal:"), size_after(data, b"\nMemAvailable:")
        free, buffers = size_after(data, b"\nMemFree:"), max(0, size_after(data, b"\nBuffers:"))
        cached = size_after(data, b"\nCached:")
        at = data.find(b"\nSwapTotal:")
        swap, swap_free = size_after(data, b"\nSwapTotal:", at), size_after(data, b"\nSwapFree:", at)
        dirty, back = size_after(data, b"\nDirty:", at), size_after(data, b"\nWriteback:", at)
        shared, slab = size_after(data, b"\nShmem:", at), size_after(data, b"\nSReclaimable:", at)
        if available < 0 <= free:
            available = free + buffers + max(0, cached)
        cache = max(0, cached + buffers + max(0, slab) - max(0, shared)) if cached >= 0 else -1
        return [
            number(total),
            number(max(0, total - available) if total >= 0 and available >= 0 else -1),
            number(cache),
            number(dirty + max(0, back) if dirty >= 0 else -1),
            number(swap),
            number(swap - swap_free if swap >= 0 and swap_free >= 0 else -1),
        ]

    def io(self):
        # type: () -> list[bytes]
        """Sums over whole disks."""
        data = lines(self.disks)
        if not data:
            return [NOTHING] * 5
        if data.count(b"\n") != self.disk_count:
            self.find_disks(data)
        reads = read_sectors = writes = written_sectors = busy = 0
        for key in self.disk_keys:
            at = data.find(key)
            if at < 0:
                self.disk_count = -1
                continue
            words = data[at + len(key) : data.find(b"\n", at)].split(None, 10)
            reads += int(words[0])
            read_sectors += int(words[2])
            writes += int(words[4])
            written_sectors += int(words[6])
            busy += int(words[9])
        return [
            b"%d" % reads,
            b"%d" % (read_sectors << 9),
            b"%d" % writes,
            b"%d" % (written_sectors << 9),
            b"%d" % (busy * 1000),
        ]

    def find_disks(self, data):
        # type: (bytes) -> None
        """Which block devices are disks of their own: no partitions, and nothing stacked on disks."""
        keys, majors = [], []  # type: list[bytes], list[bytes]
        for line in data.split(b"\n"):
            words = line.split()
            if len(words) < 14 or words[2].startswith(VIRTUAL_DISKS):
                continue
            if there(b"/sys/block/" + words[2].replace(b"/", b"!")):
                keys.append(b" " + words[2] + b" ")
                majors.append(words[0] + b":" + words[1])
        self.disk_keys, self.majors, self.disk_count = tuple(keys), tuple(majors), data.count(b"\n")

    def traffic(self):
        # type: () -> list[bytes]
        """Sums over network cards, or over whatever there is but loopback."""
        data = lines(self.cards)
        if not data:
            return [NOTHING] * 6
        if data.count(b"\n") != self.card_count:
            self.find_cards(data)
        sums = [0, 0, 0, 0, 0, 0]
        for key in self.card_keys:
            at = data.find(key)
            if at < 0:
                self.card_count = -1
                continue
            words = data[at + len(key) : data.find(b"\n", at + 1)].split(None, 12)
            for column, word in enumerate((0, 1, 3, 8, 9, 11)):
                sums[column] += int(words[word])
        return [b"%d" % one for one in sums]

    def find_cards(self, data):
        # type: (bytes) -> None
        """Which lines of /proc/net/dev count."""
        cards, others = [], []  # type: list[bytes], list[bytes]
        for line in data.split(b"\n")[2:]:
            label = line.partition(b":")[0]
            name = label.strip()
            if name and name != b"lo":
                real = there(b"/sys/class/net/" + name + b"/device")
                (cards if real else others).append(b"\n" + label + b":")
        self.card_keys, self.card_count = tuple(cards or others), data.count(b"\n")
