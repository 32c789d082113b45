"""Part of the host sampler: processes and trees of them, at the price of one read each while they sleep."""

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sidestep.backends.sampler.host.files import NOTHING, PAGE, TICK, opened, pread, read, shut, there

#: seconds between looks at who is whose child
PATIENCE = 2.0
#: looks at a running process by its run time alone, between two that read all; and the first that all read all
BRIEFLY, FIRST = 3, 2
#: descriptors above this are not spent on lists of children: a process may have 1024, and shards need two each
MOST_KEPT = 512
#: above this, walking the page tables costs milliseconds: take resident size for the exact one
EXACT_BELOW = 512 << 20
#: resident bytes that may come and go until the exact size is taken again, and seconds
MOVED, STALE = 4 << 20, 60.0
#: microseconds that a total may fall by because ended processes are counted in ticks
SLACK = 50000
#: whether the kernel says in nanoseconds how long a task ran
PRECISE = read(b"/proc/self/schedstat", 40).split(b" ")[0] not in (b"", b"0")
CHILDREN = there(b"/proc/%d/task/%d/children" % (posix.getpid(), posix.getpid()))


class Gone(Exception):
    """The process has ended."""


class Process:
    """One process: files kept open, and what it used when it last ran."""

    def __init__(self, pid):
        # type: (int) -> None
        self.pid, self.cpu, self.ended, self.resident, self.threads = pid, 0, 0, 0, 1
        self.base = self.exact = 0
        self.measured = -1e9
        self.state, self.ran = b"", b""
        self.brief, self.owed, self.below = -FIRST, 0, -1
        self.stat = opened(b"/proc/%d/stat" % pid)
        self.sched = opened(b"/proc/%d/schedstat" % pid) if PRECISE else -1

    def close(self):
        # type: () -> None
        """Give the descriptors back."""
        shut(self.stat)
        shut(self.sched)
        shut(self.below)
        self.stat = self.sched = self.below = -1

    def childless(self):
        # type: () -> bool
        """Whether one thread that is alone has started nothing, at the price of a read."""
        if self.below == -1:
            self.below = opened(b"/proc/%d/task/%d/children" % (self.pid, self.pid)) if CHILDREN else -2
            if self.below > MOST_KEPT:
                shut(self.below)
                self.below = -2
        try:
            return self.below >= 0 and not pread(self.below, 16, 0)
        except OSError:
            return False

    def glance(self):
        # type: () -> int
        """For one that is alone: 0 if it did not run, 1 if nothing but its time is new, -1 if all must be read."""
        try:
            ran = pread(self.sched, 100, 0)
        except OSError:
            return -1
        if ran == self.ran:
            return -self.owed
        if self.brief <= 0:
            return -1
        self.brief -= 1
        self.ran, self.owed = ran, 1
        self.cpu = max(self.cpu, int(ran[: ran.index(b" ")]) // 1000)
        return 1

    def look(self):
        # type: () -> bool
        """Whether it ran since the last look; raises Gone."""
        ran = b""
        try:
            if self.sched >= 0:
                # What did not run has not changed. Threads are counted one by one, so that many tell nothing.
                ran = pread(self.sched, 100, 0)
                if ran == self.ran and self.threads == 1 and self.state and not self.owed:
                    return False
                data = pread(self.stat, 1024, 0)
            else:
                data = pread(self.stat, 1024, 0) if self.stat >= 0 else read(b"/proc/%d/stat" % self.pid)
            words = data[data.rindex(b")") + 2 :].split(b" ", 22)
        except (OSError, ValueError):
            raise Gone from None
        self.ran, self.state, self.threads, self.start = ran, words[0], int(words[17]), int(words[19])
        own = (int(words[11]) + int(words[12])) * TICK
        self.cpu = max(own, self.cpu, int(ran.split(b" ", 1)[0]) // 1000) if ran else max(own, self.cpu)
        self.ended = (int(words[13]) + int(words[14])) * TICK
        self.resident = int(words[21]) * PAGE
        # That it has more threads now would be seen late: only what has had one for long is trusted.
        self.owed = 0
        if self.threads > 1:
            self.brief = -FIRST
        else:
            # Not all in the same second: what a thousand shards once read at a time would be read at a time for ever.
            self.brief = BRIEFLY if self.brief >= 0 else self.brief + 1 or self.pid % (BRIEFLY + 1)
        return True

    def memory(self, now):
        # type: (float) -> int
        """Its share of the memory, bytes: taken exactly when much has changed, else moved along with its size."""
        if not 0 < self.resident < EXACT_BELOW:
            return self.resident
        moved = self.resident - self.base
        if abs(moved) > max(MOVED, self.base >> 3) or now - self.measured > STALE:
            data = read(b"/proc/%d/smaps_rollup" % self.pid)
            at = data.find(b"\nPss:")
            # As above.
            self.measured = now - (self.pid % 16)
            self.base = self.resident
            self.exact = int(data[at + 5 : data.find(b"kB", at)]) << 10 if at >= 0 else self.resident
            return self.exact
        return max(0, self.exact + moved)


class Tree:
    """A process and all below it. Totals never fall, even if what ended was waited for by nobody."""

    def __init__(self, root, count_root=True):
        # type: (int, bool) -> None
        self.root, self.count_root = root, count_root
        self.all = {root: Process(root)}  # type: dict[int, Process]
        self.lost = self.last = 0
        self.alone = None  # type: Process | None
        self.walked, self.forks, self.stale = -1e9, -2, True

    def close(self):
        # type: () -> None
        """Give the descriptors back."""
        for process in self.all.values():
            process.close()

    def walk(self, parents):
        # type: (dict[int, list[int]] | None) -> None
        """Look again at who is below the root."""
        old, found, new = self.all, {self.root: self.all[self.root]}, [self.root]
        while new and len(found) < 20000:
            below = []
            for pid in new:
                threads = found[pid].threads
                for child in parents.get(pid, ()) if parents is not None else children(pid, threads):
                    if child not in found:
                        found[child] = old.get(child) or Process(child)
                        below.append(child)
                        if child not in old:
                            try:
                                found[child].look()
                            except Gone:
                                pass
            new = below
        for pid, process in old.items():
            if pid not in found:
                process.close()
        self.all = found

    def look(self, now, forks, patience):
        # type: (float, int, float) -> int
        """Bring it up to date: 0 if nothing ran, 1 if only its time is new, else 2. Raises Gone without a root."""
        alone = self.alone
        if alone is not None:
            due = forks != self.forks and now - self.walked >= patience
            if not due or alone.childless():
                seen = alone.glance()
                if seen >= 0:
                    if due:
                        self.walked, self.forks, self.stale = now, forks, False
                    self.stale = self.stale or seen > 0
                    return seen
        ran = False
        ended = None  # type: list[int] | None
        for pid, process in self.all.items():
            try:
                ran = process.look() or ran
            except Gone:
                if pid == self.root:
                    raise
                ended = [pid] if ended is None else ended + [pid]
        for pid in ended or ():
            self.all.pop(pid).close()
        if alone is not None and alone.threads > 1:
            self.forks = -2  # any of its threads may have started something that was not seen
        # Only what ran can have started something, and somewhere something must have been started.
        self.stale = self.stale or ran
        walk = self.stale and (forks != self.forks or forks < 0) and now - self.walked >= patience
        if walk:
            self.walk(None if CHILDREN else parents_of_all())
            self.walked, self.forks, self.stale = now, forks, False
        root = self.all[self.root]
        self.alone = root if len(self.all) == root.threads == 1 and root.sched >= 0 and self.count_root else None
        return 2 if ran or walk or ended is not None else 0

    def time(self):
        # type: () -> int
        """Microseconds of processor time, where nothing else is new."""
        if self.alone is not None:
            self.last = max(self.last, self.lost + self.alone.ended + self.alone.cpu)
        return self.last

    def total(self, now):
        # type: (float) -> tuple[int, int]
        """Microseconds of processor time with that of ended children, and bytes."""
        cpu, memory = self.lost, 0
        for pid, process in self.all.items():
            cpu += process.ended
            if process.state in (b"Z", b"X"):
                cpu += process.cpu
            elif pid != self.root or self.count_root:
                cpu += process.cpu
                memory += process.memory(now)
        if cpu < self.last - SLACK:
            self.lost += self.last - cpu
        self.last = max(cpu, self.last)
        return self.last, memory


def children(pid, threads):
    # type: (int, int) -> list[int]
    """The pids of the children of a process, of all its threads."""
    found = read(b"/proc/%d/task/%d/children" % (pid, pid)).split()
    if threads > 1:
        try:
            for task in posix.listdir("/proc/%d/task" % pid):
                if int(task) != pid:
                    found += read(b"/proc/%d/task/%d/children" % (pid, int(task))).split()
        except OSError:
            pass
    return [int(child) for child in found]


def parents_of_all():
    # type: () -> dict[int, list[int]]
    """Who has which children, where the kernel does not tell it directly."""
    found = {}  # type: dict[int, list[int]]
    for name in posix.listdir(b"/proc"):
        if name.isdigit():
            data = read(b"/proc/" + name + b"/stat", 1024)
            words = data[data.rfind(b")") + 2 :].split(b" ", 2)
            if len(words) == 3:
                found.setdefault(int(words[1]), []).append(int(name))
    return found


class Subtree:
    """A host that is a process tree: its processor time and memory, and nothing else."""

    def __init__(self, root):
        # type: (int) -> None
        # The root is the machine itself: only what runs on it counts, and what ended on it.
        self.tree = Tree(root, count_root=False)

    def tokens(self):
        # type: () -> list[bytes]
        """All time counts as that of users: modes are not told apart."""
        now = time.monotonic()
        try:
            self.tree.look(now, -1, 0.0)
        except Gone:
            return [NOTHING] * 35
        cpu, memory = self.tree.total(now)
        out = [b"%d" % cpu, b"0", b"0", NOTHING, NOTHING, b"0", b"0", b"0"] + [NOTHING] * 27
        out[19] = b"%d" % memory
        return out
