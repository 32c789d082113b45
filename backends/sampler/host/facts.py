"""Part of the host sampler: where control groups are mounted, and the facts that hardly ever change."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sidestep.backends.sampler.host.files import NAME, opened, pread, read, size_after, there

#: a limit above this is none
NO_LIMIT = 1 << 60


class Groups:
    """The host's control groups: roots of the hierarchies, and who we are in them."""

    def __init__(self):
        # type: () -> None
        #: of each controller of v1, and of v2 as b""
        self.roots, self.container = {}, b"none"  # type: dict[bytes, bytes], bytes
        for line in whole(b"/proc/self/mounts").split(b"\n"):
            words = line.split(b" ")
            if len(words) < 4:
                continue
            if words[2] == b"cgroup2":
                self.roots.setdefault(b"", words[1])
            elif words[2] == b"cgroup":
                for option in words[3].split(b","):
                    self.roots.setdefault(option, words[1])
            elif words[2] == b"fuse.lxcfs" and words[1] in (b"/proc/stat", b"/proc/meminfo"):
                self.container = b"lxcfs"
        self.v1 = b"memory" in self.roots or b"cpuacct" in self.roots or b"cpu" in self.roots
        self.own = {}  # type: dict[bytes, bytes]
        for line in whole(b"/proc/self/cgroup").split(b"\n"):
            words = line.split(b":", 2)
            for controller in words[1].split(b",") if len(words) == 3 else ():
                self.own[controller] = words[2].rstrip(b"/")
        self.system = []  # type: list[bytes]
        for line in (read(b"/etc/os-release") or read(b"/usr/lib/os-release")).split(b"\n"):
            value = line[3:].strip(b"\"' ")
            if line[:3] == b"ID=" and value and NAME.issuperset(value) and len(value) <= 40:
                self.system = [b"os=" + value]
        if self.container == b"none" and self.contained():
            self.container = b"bare"

    def contained(self):
        # type: () -> bool
        """Whether this is a container whose /proc is that of its machine."""
        # Only the real roots of the hierarchies lack the first and have the second.
        if b"" in self.roots and there(self.roots[b""] + b"/cgroup.type"):
            return True
        if b"memory" in self.roots and not there(self.roots[b"memory"] + b"/release_agent"):
            return True
        if b"" in self.roots or b"memory" in self.roots:
            # Images leave marks of containers on machines that are none: a path of one must go with it.
            paths = b" ".join(self.own.values())
            return any(word in paths for word in (b"/docker", b"/libpod", b"/kubepods", b"/lxc", b"/machine.slice/"))
        return there(b"/.dockerenv") or there(b"/run/.containerenv") or there(b"/run/systemd/container")

    def top(self, controller):
        # type: (bytes) -> bytes
        """The folder of the container's own group, or of the machine's root."""
        above = self.above(controller)
        if not above:
            return b"/nowhere"
        whole_machine = (
            not there(above[0] + b"/cgroup.type") if controller == b"" else there(above[0] + b"/release_agent")
        )
        return above[-1 if whole_machine else 0]

    def layout(self):
        # type: () -> bytes
        """Which versions there are."""
        if b"" in self.roots:
            return b"hybrid" if self.v1 else b"v2"
        return b"v1" if self.v1 else b"none"

    def above(self, controller):
        # type: (bytes) -> list[bytes]
        """Folders of our own group of a controller and of all above it."""
        root = self.roots.get(controller)
        if root is None:
            return []
        path = self.own.get(controller, b"")
        # In a container, the path may be that of the machine while the root is our own group.
        steps = path.split(b"/")[1:] if there(root + path) else []
        return [b"/".join([root] + steps[:count]) for count in range(len(steps) + 1)]

    def processors(self):
        # type: () -> float
        """Cores that tasks here may use."""
        cores = float(len(posix.sched_getaffinity(0)))
        for folder in self.above(b""):
            words = read(folder + b"/cpu.max", 100).split()
            if len(words) == 2 and words[0] != b"max":
                cores = min(cores, int(words[0]) / int(words[1]))
        for folder in self.above(b"cpu"):
            quota, period = (read(folder + b"/cpu.cfs_%s_us" % kind, 30).strip() for kind in (b"quota", b"period"))
            if quota.isdigit() and period.isdigit() and int(period):
                cores = min(cores, int(quota) / int(period))
        return cores

    def memory(self):
        # type: () -> int
        """Bytes that tasks here may use; -1 unknown."""
        total = size_after(read(b"/proc/meminfo"), b"MemTotal:")
        limits = [read(folder + b"/memory.max", 30).strip() for folder in self.above(b"")]
        limits += [read(folder + b"/memory.limit_in_bytes", 30).strip() for folder in self.above(b"memory")]
        known = [int(limit) for limit in limits if limit.isdigit() and int(limit) < NO_LIMIT]
        return min([total] + known) if total >= 0 else -1

    def facts(self, tree, pressure):
        # type: (int, bool) -> bytes
        """The record's keys and values."""
        cores, memory = self.processors(), self.memory()
        out = [
            b"cpus=" + ("%.3f" % cores).rstrip("0").rstrip(".").encode(),
            b"memory=%d" % memory if memory >= 0 else b"",
            b"cgroup=" + self.layout(),
            b"container=" + self.container,
            b"psi=" + (b"yes" if pressure else b"no"),
        ]
        out += self.system
        if tree:
            out.append(b"tree=%d" % tree)
        return b" ".join([one for one in out if one])

    def slice_of(self, fleet):
        # type: (bytes) -> bytes
        """Path below the roots of the slice whose children are the fleet's shards; b"" where there is none."""
        leaves = [b"sidestep-" + fleet.replace(b"-", b"\\x2d") + b".slice"]
        chains = [b"/sidestep.slice/" + leaves[0], b"/" + leaves[0]]
        if b"-" in fleet:
            # Not escaped, every dash is a slice inside a slice.
            words = (b"sidestep-" + fleet).split(b"-")
            chains.append(b"".join([b"/" + b"-".join(words[: n + 1]) + b".slice" for n in range(len(words))]))
        uid = posix.getuid()
        user = b"/user.slice/user-%d.slice/user@%d.service" % (uid, uid)
        for base in (b"", user):
            for chain in chains:
                for controller in (b"", b"name=systemd", b"cpuacct", b"memory"):
                    if controller in self.roots and there(self.roots[controller] + base + chain):
                        return base + chain
        return b""


def whole(path):
    # type: (bytes) -> bytes
    """All of a file of any length; b"" where it cannot be had."""
    descriptor, data = opened(path), b""
    if descriptor < 0:
        return data
    try:
        part = pread(descriptor, 65536, 0)
        while part:
            data += part
            part = pread(descriptor, 65536, len(data))
        return data
    except OSError:
        return b""
    finally:
        posix.close(descriptor)
