"""Part of the host sampler: shards that are control groups, children of the fleet's slice."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sidestep.backends.sampler.host.files import NAME, NOTHING, after, again, opened, pread, read, shut, there
    from sidestep.backends.sampler.host.machine import Machine
    from sidestep.backends.sampler.host.processes import Gone

#: samples between looks at what an idle group can change: frozen, memory taken back
RECHECK = 10


def unit_name(path):
    # type: (bytes) -> bytes
    """The shard that a unit's folder is named after; b"" where it is no unit of ours."""
    leaf = path.rpartition(b"/")[2]
    name, _, kind = leaf.rpartition(b".")
    if kind not in (b"service", b"scope"):
        return b""
    out, at = b"", name.find(b"\\x")
    while at >= 0:
        try:
            out, name = out + name[:at] + bytes([int(name[at + 2 : at + 4], 16)]), name[at + 4 :]
        except ValueError:
            return b""
        at = name.find(b"\\x")
    out += name
    return out if 0 < len(out) <= 100 and NAME.issuperset(out) else b""


class Slice:
    """The slice of a fleet."""

    def __init__(self, path, groups, machine):
        # type: (bytes, Any, Machine) -> None
        self.path, self.groups, self.machine, self.links = path, groups, machine, 0
        order = (b"", b"name=systemd", b"cpuacct", b"memory")
        self.folders = [groups.roots[one] + path for one in order if one in groups.roots]
        self.folders = [folder for folder in self.folders if there(folder)][:1]

    def changed(self):
        # type: () -> bool
        """Whether children came or went since the last look; a folder's links are its children."""
        try:
            return any(posix.stat(folder).st_nlink != self.links for folder in self.folders)
        except OSError:
            return self.links != 0

    def found(self):
        # type: () -> dict[bytes, bytes]
        """Names and paths of the shards."""
        out = {}  # type: dict[bytes, bytes]
        for folder in self.folders:
            try:
                self.links = posix.stat(folder).st_nlink
                names = posix.listdir(folder)
            except OSError:
                self.links = 0
                continue
            for leaf in names:
                name = unit_name(leaf)
                if name:
                    out[name] = self.path + b"/" + leaf
        return out

    def group(self, path):
        # type: (bytes) -> Group
        """A child."""
        return Group(path, self.groups, self.machine)


class Group:
    """One control group of version 1, 2 or both; files kept open."""

    def __init__(self, path, groups, machine):
        # type: (bytes, Any, Machine) -> None
        self.path, self.machine = path, machine
        roots = groups.roots
        self.v2 = roots[b""] + path if b"" in roots else b""
        self.populated = opened(self.v2 + b"/cgroup.events") if self.v2 else -1
        self.cpu = opened(self.v2 + b"/cpu.stat") if self.v2 else -1
        # Beside version 1, the group of version 2 may exist and hold nobody.
        if groups.v1 and after(again(self.populated, 256), b"populated ") != 1 and b"cpuacct" in roots:
            shut(self.cpu)
            self.cpu = -1
        self.usage = self.file(roots, b"cpuacct", b"cpuacct.usage") if self.cpu < 0 else -1
        self.held = self.file(roots, b"cpu", b"cpu.stat") if groups.v1 else -1
        self.stalls = opened(self.v2 + b"/cpu.pressure") if self.v2 and self.cpu >= 0 else -1
        self.memory, self.cache_key = opened(self.v2 + b"/memory.current") if self.v2 else -1, b"\ninactive_file "
        self.cache_path = self.v2 + b"/memory.stat"
        self.io, self.io_old = opened(self.v2 + b"/io.stat") if self.v2 else -1, -1
        if self.memory < 0:
            self.memory, self.cache_key = (
                self.file(roots, b"memory", b"memory.usage_in_bytes"),
                b"\ntotal_inactive_file ",
            )
            self.cache_path = roots.get(b"memory", b"/nowhere") + path + b"/memory.stat"
        if self.io < 0:
            self.io_old = self.file(roots, b"blkio", b"blkio.throttle.io_service_bytes")
        self.members = [roots[one] + path for one in (b"", b"name=systemd", b"cpuacct", b"memory") if one in roots]
        if groups.v1 and b"" in roots and self.cpu < 0:
            self.members = self.members[1:]
        self.before, self.idle_since, self.words = b"", b"", []  # type: bytes, bytes, list[bytes]
        self.count, self.pid, self.cache, self.frozen = 0, 0, 0, False
        freezer = roots.get(b"freezer", b"")
        self.freezer = opened(freezer + path + b"/freezer.state") if freezer and self.cpu < 0 else -1

    def file(self, roots, controller, name):
        # type: (dict[bytes, bytes], bytes, bytes) -> int
        """A kept file of a controller of version 1."""
        return opened(roots[controller] + self.path + b"/" + name) if controller in roots else -1

    def exists(self):
        # type: () -> bool
        """Whether anything can be read of it."""
        return self.cpu >= 0 or self.usage >= 0 or self.memory >= 0

    def close(self):
        # type: () -> None
        """Give the descriptors back."""
        for one in (self.cpu, self.usage, self.held, self.stalls, self.memory, self.io, self.io_old, self.populated):
            shut(one)
        shut(self.freezer)
        self.cpu = self.usage = self.held = self.stalls = self.memory = self.io = self.io_old = self.populated = -1
        self.freezer = -1

    def who(self):
        # type: () -> None
        """Look who is in it, whether it is frozen, and how much of its memory is mere cache."""
        events = again(self.populated, 256)
        self.frozen = b"\nfrozen 1" in events
        if self.freezer >= 0:
            self.frozen = again(self.freezer, 64)[:6] in (b"FROZEN", b"FREEZI")
        pid = 0
        for folder in self.members:
            words = read(folder + b"/cgroup.procs").split(None, 1)
            if words:
                pid = int(words[0])
                break
        self.pid = pid
        self.cache = max(0, after(read(self.cache_path), self.cache_key))

    def tokens(self, shard, now):
        # type: (Any, float) -> list[bytes]
        """The numbers of its shard; raises Gone when it was removed."""
        try:
            if self.cpu >= 0:
                data = pread(self.cpu, 1024, 0)
            elif self.usage >= 0:
                data = pread(self.usage, 40, 0)
            else:
                data = b""
        except OSError:
            raise Gone from None
        self.count -= 1
        if data != self.before:
            if self.count < 0 or not self.pid:
                self.count = RECHECK
                self.who()
            self.before = data
            self.words = self.numbers(data, shard)
        elif self.count < 0 or self.idle_since != self.before:
            # It ran until now, or long ago: it may have been stopped, or have ended.
            self.count = RECHECK
            self.idle_since = self.before
            self.who()
            self.words = self.numbers(data, shard)
        return self.words

    def numbers(self, data, shard):
        # type: (bytes, Any) -> list[bytes]
        """All numbers, of a group that ran."""
        pid = shard.pid if shard.pid and self.pid else self.pid
        out = [b"%d" % pid, b"%d" % shard.token, b"1" if self.pid and not self.frozen else b"0"]
        held = data
        if self.cpu >= 0:
            cpu = after(data, b"usage_usec ")
        else:
            cpu = int(data) // 1000 if data else -1
        if self.held >= 0:
            held = again(self.held, 512)
        memory = again(self.memory, 40)
        throttled, times = after(held, b"throttled_usec "), after(held, b"nr_throttled ")
        if throttled < 0:
            throttled = after(held, b"throttled_time ")
            throttled = throttled // 1000 if throttled >= 0 else -1
        out += [
            b"%d" % cpu if cpu >= 0 else NOTHING,
            b"%d" % max(0, int(memory) - self.cache) if memory else NOTHING,
            b"%d" % throttled if throttled >= 0 else NOTHING,
            b"%d" % times if times >= 0 else NOTHING,
        ]
        out += self.moved()
        stalls = again(self.stalls, 256) if self.stalls >= 0 else b""
        at = stalls.find(b"total=")
        out.append(stalls[at + 6 : stalls.find(b"\n", at)] if at >= 0 else NOTHING)
        return out

    def moved(self):
        # type: () -> list[bytes]
        """Bytes read from and written to whole disks, so that what is stacked on them counts once."""
        if self.io < 0 and self.io_old < 0:
            return [NOTHING, NOTHING]
        got = put = 0
        disks = self.machine.majors
        for line in again(self.io if self.io >= 0 else self.io_old, 4096).split(b"\n"):
            device, _, rest = line.partition(b" ")
            if disks and device not in disks:
                continue
            if self.io >= 0:
                for word in rest.split():
                    if word[:7] == b"rbytes=":
                        got += int(word[7:])
                    elif word[:7] == b"wbytes=":
                        put += int(word[7:])
            elif rest[:5] == b"Read ":
                got += int(rest[5:])
            elif rest[:6] == b"Write ":
                put += int(rest[6:])
        return [b"%d" % got, b"%d" % put]
