# ruff: noqa: PTH110, PTH111, PTH112, PTH116, PTH118, PTH208
"""The sampler that runs on hosts: sent over standard input, standard library only, Python 3.6 on.

Writes records of protocol 1 (see records.py) to standard output. Ends at the end of standard
input, when its lease runs out, or when nobody reads. Writes no file.
"""

import os
import select
import sys
import time

NS = 1000000000
CLK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
#: above this, walking the page tables costs milliseconds: take resident size for the exact one
EXACT_BELOW = 512 << 20
VIRTUAL_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
NOTHING = b"-"
NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def opened(path: str) -> int:
    """A descriptor kept for the whole run; -1 where the file does not exist."""
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return -1


def reread(descriptor: int) -> bytes:
    """All of a kept /proc file as it is now; b"" where it cannot be had."""
    if descriptor < 0:
        return b""
    whole = b""
    try:
        while True:
            part = os.pread(descriptor, 65536, len(whole))
            whole += part
            if not part:
                return whole
    except OSError:
        return b""


def read(path: str) -> bytes:
    """All of a small file; b"" where it cannot be had."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


class Tree:
    """Processes under a process, and what they use."""

    def __init__(self) -> None:
        me = os.getpid()
        self.has_children = os.path.exists(f"/proc/{me}/task/{me}/children")
        self.parents = {}  # type: dict[int, list[int]]

    def refresh(self) -> None:
        """Look again at who is whose child, where the kernel does not tell it directly."""
        if self.has_children:
            return
        self.parents = {}
        for name in os.listdir("/proc"):
            fields = stat_of(name) if name.isdigit() else None
            if fields:
                self.parents.setdefault(int(fields[1]), []).append(int(name))

    def children(self, pid: int) -> "list[int]":
        """The pids of the children."""
        if not self.has_children:
            return self.parents.get(pid, [])
        found = []  # type: list[bytes]
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                found += read(f"/proc/{pid}/task/{task}/children").split()
        except OSError:
            pass
        return [int(child) for child in found]

    def below(self, pid: int) -> "list[int]":
        """The pids of all descendants, without ``pid``."""
        found = []  # type: list[int]
        new = self.children(pid)
        while new and len(found) < 20000:
            found += new
            new = [child for parent in new for child in self.children(parent)]
        return found


def stat_of(pid: "int | str") -> "list[bytes] | None":
    """The fields of /proc/PID/stat after the name (state first), or None."""
    data = read(f"/proc/{pid}/stat")
    end = data.rfind(b")")
    return data[end + 2 :].split() if end > 0 else None


def ticks(low: bytes, high: bytes) -> int:
    """Nanoseconds of two counters in clock ticks."""
    return (int(low) + int(high)) * NS // CLK


def usage(pid: int, fields: "list[bytes]") -> "tuple[int, int]":
    """Processor time in ns with that of ended children, and memory in bytes, of one process."""
    precise = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            words = read(f"/proc/{pid}/task/{task}/schedstat").split()
            precise += int(words[0]) if words else 0
    except OSError:
        pass
    cpu = max(ticks(fields[11], fields[12]), precise) + ticks(fields[13], fields[14])
    memory = int(fields[21]) * PAGE
    if 0 < memory < EXACT_BELOW:
        rollup = read(f"/proc/{pid}/smaps_rollup")
        at = rollup.find(b"\nPss:")
        if at >= 0:
            memory = int(rollup[at + 5 :].split(None, 1)[0]) * 1024
    return cpu, memory


def total(pids: "list[int]") -> "tuple[int, int]":
    """Summed usage of processes; those that end meanwhile do not count."""
    cpu = memory = 0
    for pid in pids:
        fields = stat_of(pid)
        if fields and fields[0] not in (b"Z", b"X"):
            one = usage(pid, fields)
            cpu, memory = cpu + one[0], memory + one[1]
        elif fields:
            cpu += ticks(fields[11], fields[12]) + ticks(fields[13], fields[14])
    return cpu, memory


class Machine:
    """A whole machine: its kernel's own counters."""

    def __init__(self) -> None:
        self.stat, self.memory = opened("/proc/stat"), opened("/proc/meminfo")
        self.disks, self.nets = opened("/proc/diskstats"), opened("/proc/net/dev")
        self.psi = [opened("/proc/pressure/" + kind) for kind in ("cpu", "memory", "io")]
        self.whole = {}  # type: dict[str, bool]

    def tokens(self) -> "list[bytes]":
        """The nine numbers of the host."""
        return [self.cpu(), self.used()] + self.io() + self.net() + [self.pressure(fd) for fd in self.psi]

    def cpu(self) -> bytes:
        """Busy processor time since boot, ns."""
        words = reread(self.stat).split(b"\n", 1)[0].split()
        if len(words) < 8:
            return NOTHING
        return b"%d" % (sum(int(words[i]) for i in (1, 2, 3, 6, 7)) * NS // CLK)

    def used(self) -> bytes:
        """Memory that could not be handed out, bytes."""
        sizes = {}  # type: dict[bytes, int]
        for line in reread(self.memory).split(b"\n"):
            words = line.split()
            if len(words) > 1:
                sizes[words[0]] = int(words[1]) * 1024
        free = sizes.get(b"MemAvailable:", sizes.get(b"MemFree:"))
        return NOTHING if free is None else b"%d" % max(0, sizes.get(b"MemTotal:", free) - free)

    def io(self) -> "list[bytes]":
        """Reads and writes completed by whole disks."""
        data, reads, writes = reread(self.disks), 0, 0
        if not data:
            return [NOTHING, NOTHING]
        for line in data.split(b"\n"):
            words = line.split()
            if len(words) > 13 and self.is_disk(words[2].decode("ascii", "replace")):
                reads, writes = reads + int(words[3]), writes + int(words[7])
        return [b"%d" % reads, b"%d" % writes]

    def is_disk(self, name: str) -> bool:
        """Whether a block device is a disk of its own: no partition, and nothing stacked on disks."""
        if name not in self.whole:
            self.whole[name] = not name.startswith(VIRTUAL_DISKS) and os.path.isdir(
                "/sys/block/" + name.replace("/", "!")
            )
        return self.whole[name]

    def net(self) -> "list[bytes]":
        """Bytes received and sent by network cards, or by whatever there is but loopback."""
        cards, others = [0, 0, 0], [0, 0, 0]
        data = reread(self.nets)
        if not data:
            return [NOTHING, NOTHING]
        for line in data.split(b"\n")[2:]:
            label, _, rest = line.partition(b":")
            words, name = rest.split(), label.strip().decode("ascii", "replace")
            if len(words) > 8 and name != "lo":
                kind = cards if os.path.exists(f"/sys/class/net/{name}/device") else others
                kind[0] += 1
                kind[1] += int(words[0])
                kind[2] += int(words[8])
        kind = cards if cards[0] else others
        return [b"%d" % kind[1], b"%d" % kind[2]]

    def pressure(self, descriptor: int) -> bytes:
        """PSI some avg10, percent."""
        data = reread(descriptor)
        at = data.find(b"avg10=")
        return data[at + 6 :].split(None, 1)[0] if data.startswith(b"some") and at > 0 else NOTHING


class Subtree:
    """A host that is a process tree: its processor time and memory, and nothing else."""

    def __init__(self, root: int, tree: Tree) -> None:
        self.root, self.tree = root, tree

    def tokens(self) -> "list[bytes]":
        """The nine numbers of the host, seven of them unknown."""
        cpu, memory = total(self.tree.below(self.root))
        fields = stat_of(self.root)
        if fields is None:
            return [NOTHING] * 9
        # What ended below it is counted where it was waited for.
        cpu += ticks(fields[13], fields[14])
        return [b"%d" % cpu, b"%d" % memory] + [NOTHING] * 7


class Shards:
    """The shards of one fleet, found by their pid files."""

    def __init__(self, fleet: str, tree: Tree) -> None:
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        self.root, self.tree = os.path.join(state, "sidestep", fleet), tree
        self.files = {}  # type: dict[str, tuple[tuple[int, int], tuple[int, int, int]]]

    def names(self) -> "list[str]":
        """Names of shards with a pid file, sorted."""
        try:
            found = sorted(os.listdir(self.root))
        except OSError:
            return []
        return [n for n in found if is_name(n) and os.path.exists(os.path.join(self.root, n, "pid"))][:4096]

    def recorded(self, name: str) -> "tuple[int, int, int]":
        """Pid, start time and token of the pid file; zeros where it cannot be understood."""
        path = os.path.join(self.root, name, "pid")
        try:
            facts = os.stat(path)
        except OSError:
            return 0, 0, 0
        key = (facts.st_ino, facts.st_mtime_ns)
        if name not in self.files or self.files[name][0] != key:
            try:
                pid, start, token = (int(word) for word in read(path).split()[:3])
            except ValueError:
                pid = start = token = 0
            self.files[name] = (key, (pid, start, token))
        return self.files[name][1]

    def tokens(self, names: "list[str]") -> "list[bytes]":
        """Five numbers a shard: pid, token, processor time, memory, whether it runs."""
        out = []  # type: list[bytes]
        for name in names:
            pid, start, token = self.recorded(name)
            fields = stat_of(pid) if pid > 0 else None
            if not fields or int(fields[19]) != start or fields[0] in (b"Z", b"X"):
                out += [b"0", b"%d" % max(0, token), NOTHING, NOTHING, b"0"]
                continue
            cpu, memory = total([pid, *self.tree.below(pid)])
            running = b"0" if fields[0] in (b"T", b"t") else b"1"
            out += [b"%d" % pid, b"%d" % token, b"%d" % cpu, b"%d" % memory, running]
        return out


def is_name(text: str) -> bool:
    """Whether a folder can be a shard's: the names that the process backend makes."""
    return 0 < len(text) <= 100 and all(c in NAME for c in text)


class Console:
    """What the other end says: ``i<ms>`` interval, ``l<s>`` lease, ``n`` now, ``q`` end."""

    def __init__(self, interval: float) -> None:
        self.interval, self.lease, self.pending, self.ended = interval, 60.0, b"", False
        self.heard = self.due = time.monotonic()

    def wait(self) -> None:
        """Return when a sample is due, or when it is over."""
        while not self.ended:
            now = time.monotonic()
            if now - self.heard > self.lease:
                self.ended = True
            elif now >= self.due:
                self.due = max(self.due + self.interval, now)
                return
            elif select.select([0], [], [], min(self.due - now, 5.0))[0]:
                self.listen()

    def listen(self) -> None:
        """Take what was said; its end is our end."""
        data = os.read(0, 4096)
        if not data:
            self.ended = True
        self.heard = time.monotonic()
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            if line[:1] == b"i":
                self.interval = max(0.05, int(line[1:]) / 1e3)
                self.due = time.monotonic()
            elif line[:1] == b"l":
                self.lease = float(line[1:])
            elif line[:1] == b"n":
                self.due = time.monotonic()
            elif line[:1] == b"q":
                self.ended = True


def main() -> None:
    """Sample until it is over."""
    tree = Tree()
    root = int(os.environ.get("SIDESTEP_HOST_TREE") or 0)
    host = Subtree(root, tree) if root else Machine()
    shards, console = Shards(sys.argv[1], tree), Console(float(sys.argv[2]))
    say(b"H1 %d %s %d python\n" % (os.getpid(), os.uname().release.encode(), CLK))
    seq = 0
    known = None  # type: list[str] | None
    while True:
        console.wait()
        if console.ended:
            return
        tree.refresh()
        names = shards.names()
        if names != known:
            known = names
            say(b"K 9 %s\n" % (",".join(names).encode() or NOTHING))
        seq += 1
        moment = b"V %d %d " % (seq, time.monotonic() * 1000)
        say(moment + b" ".join(host.tokens() + shards.tokens(names)) + b"\n")


def say(data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - supervisor: the console must learn why we ended
        say(b"E failed %s\n" % f"{type(error).__name__}: {error}".encode("ascii", "replace")[:500])
        os._exit(1)
