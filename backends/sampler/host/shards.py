"""Part of the host sampler: the shards of a fleet, found by their folders and control groups."""

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sidestep.backends.sampler.host.files import NAME, NOTHING, listed, read, there
    from sidestep.backends.sampler.host.main import RARELY, Sampler
    from sidestep.backends.sampler.host.processes import PATIENCE, Gone, Tree

MOST = 4096
GONE = [NOTHING] * 7


class Shard:
    """One shard, found by its folder: a process tree, or the control group that it has of its own."""

    #: how often any of them lost what it was
    lost = 0

    def __init__(self, name):
        # type: (bytes) -> None
        self.name, self.token, self.pid = name, 0, 0
        self.changed = None  # type: object
        self.tree = None  # type: Tree | None
        self.group = None  # type: Any
        self.words = None  # type: list[bytes] | None

    def forget(self):
        # type: () -> None
        """Give the descriptors back."""
        Shard.lost += 1
        if self.tree is not None:
            self.tree.close()
        self.tree, self.words = None, None

    def tokens(self, now, forks, patience):
        # type: (float, int, float) -> list[bytes]
        """Its numbers in the order of SHARD_COLUMNS; a list that stays the same while it does not run."""
        if self.group is not None:
            try:
                return self.group.tokens(self, now)  # type: ignore[no-any-return]
            except Gone:
                self.group.close()
                self.group = None
                Shard.lost += 1
        if self.tree is not None:
            try:
                seen = self.tree.look(now, forks, patience)
                if seen < 2 and self.words is not None:
                    if seen:
                        self.words[3] = b"%d" % self.tree.time()
                    return self.words
                root = self.tree.all[self.pid]
                if root.state not in (b"Z", b"X"):
                    cpu, memory = self.tree.total(now)
                    running = b"0" if root.state in (b"T", b"t") else b"1"
                    self.words = [b"%d" % self.pid, b"%d" % self.token, running, b"%d" % cpu, b"%d" % memory]
                    self.words += [NOTHING] * 5
                    return self.words
            except Gone:
                pass
            self.forget()
            self.changed = None
        if self.words is None:
            self.words = [b"0", b"%d" % self.token, b"0"] + GONE
        return self.words


class Shards:
    """The shards of one fleet."""

    def __init__(self, sampler):
        # type: (Sampler) -> None
        self.root, self.fleet, self.groups = sampler.root, sampler.fleet, sampler.groups
        self.part, self.machine = sampler.part, sampler.machine
        self.patience = 0.0 if sampler.tree else PATIENCE
        self.embedded = sampler.tree > 0
        self.all = {}  # type: dict[bytes, Shard]
        self.sorted = []  # type: list[Shard]
        self.names = []  # type: list[bytes]
        self.waiting, self.lost = [], 0  # type: list[Shard], int
        self.listed_at, self.root_changed, self.slice = -1e9, 0, None  # type: float, int, Any
        self.forks = -1

    def refresh(self, now, forks):
        # type: (float, int) -> list[bytes]
        """Names of the shards that are here now, sorted."""
        quiet = forks == self.forks and forks >= 0
        self.forks = forks
        due = now - self.listed_at >= RARELY
        try:
            changed = posix.stat(self.root).st_mtime_ns
        except OSError:
            changed = 0
        fresh = changed != self.root_changed or due
        if fresh:
            self.find(now, due)
            # A folder made within the same tick of the clock would have the same time.
            self.root_changed = changed if abs(time.time() - changed / 1e9) > 0.1 else -1
        elif self.slice is not None and self.slice.changed():
            fresh = True
            self.find(now, False)
        if self.lost != Shard.lost:
            fresh = True
        if fresh or (self.waiting and not quiet):
            for shard in self.all.values() if fresh else self.waiting:
                # What runs keeps its pid file; a new one can only follow its end.
                if (shard.tree is None and shard.group is None) or due:
                    self.read_pid(shard)
            self.lost = Shard.lost
            self.waiting = [shard for shard in self.all.values() if shard.tree is None and shard.group is None]
            self.names = sorted(
                name for name, shard in self.all.items() if shard.changed is not None or shard.group is not None
            )[:MOST]
            self.sorted = [self.all[name] for name in self.names]
        return self.names

    def find(self, now, due):
        # type: (float, bool) -> None
        """Look for folders and control groups of shards."""
        found = {name for name in listed(self.root) if 0 < len(name) <= 100 and NAME.issuperset(name)}
        if due:
            self.listed_at = now
            self.find_slice()
        grouped = self.slice.found() if self.slice is not None else {}  # type: dict[bytes, Any]
        for name in found.union(grouped):
            shard = self.all.get(name)
            if shard is None:
                shard = self.all[name] = Shard(name)
            if name in grouped and (shard.group is None or shard.group.path != grouped[name]):
                shard.forget()
                shard.group = self.slice.group(grouped[name])
        for name in set(self.all).difference(found, grouped):
            gone = self.all.pop(name)
            gone.forget()
            if gone.group is not None:
                gone.group.close()

    def find_slice(self):
        # type: () -> None
        """Look for the slice whose children are shards."""
        if self.embedded:
            return
        path = self.groups.slice_of(self.fleet)
        if path and (self.slice is None or self.slice.path != path):
            self.slice = self.part("cgroups")["Slice"](path, self.groups, self.machine)

    def read_pid(self, shard):
        # type: (Shard) -> None
        """Take what the pid file says, if it was written anew."""
        folder = self.root + b"/" + shard.name
        try:
            facts = posix.stat(folder + b"/pid")
        except OSError:
            if shard.changed is not None:
                shard.forget()
                shard.changed, shard.pid = None, 0
            self.own_group(shard, folder, 0)
            return
        changed = (facts.st_ino, facts.st_mtime_ns)
        if changed == shard.changed:
            return
        shard.forget()
        shard.changed, shard.pid, shard.token = changed, 0, 0
        words = read(folder + b"/pid", 500).split()
        if len(words) < 3 or not all(word.isdigit() and len(word) < 19 for word in words[:3]):
            return
        pid, start, shard.token = int(words[0]), int(words[1]), int(words[2])
        shard.pid = pid
        if pid <= 0 or self.own_group(shard, folder, pid) or shard.group is not None:
            return
        tree = Tree(pid)
        try:
            tree.all[pid].look()
        except Gone:
            tree.close()
            return
        if tree.all[pid].start != start or tree.all[pid].state in (b"Z", b"X"):
            tree.close()
            return
        shard.tree = tree

    def own_group(self, shard, folder, pid):
        # type: (Shard, bytes, int) -> bool
        """Give the shard the control group that its folder names, or that its process has of its own."""
        if self.embedded or shard.group is not None:
            return False
        path = read(folder + b"/cgroup", 4096).strip()
        for root in self.groups.roots.values():
            if path.startswith(root + b"/"):
                path = path[len(root) :]
        if not path and pid:
            for line in read(b"/proc/%d/cgroup" % pid).split(b"\n"):
                # Only a group that says it is this shard's: any other may be shared with strangers.
                words = line.split(b":", 2)
                if len(words) == 3 and b"/sidestep-" in words[2] and b".slice/" in words[2]:
                    path = words[2]
        if not path.startswith(b"/") or b"/../" in path + b"/":
            return False
        cgroups = self.part("cgroups")
        if cgroups["unit_name"](path) != shard.name and not there(folder + b"/cgroup"):
            return False
        group = cgroups["Group"](path, self.groups, self.machine)
        if not group.exists():
            group.close()
            return False
        shard.group = group
        return True

    def tokens(self, now):
        # type: (float) -> list[bytes]
        """The numbers of all shards."""
        out = []  # type: list[bytes]
        for shard in self.sorted:
            try:
                out += shard.tokens(now, self.forks, self.patience)
            except (ValueError, IndexError, OSError):
                out += [b"0", b"%d" % shard.token, b"0"] + GONE
        return out
