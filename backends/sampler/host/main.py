"""The sampler that runs on hosts: sent over standard input, no file written, Python 3.6 on, protocol 2.

Ends at the end of standard input, with its parent, when its lease runs out (the kernel sees to
that, so even while nobody takes what it says), or when nobody reads. At one sample a second
every sample finds cold caches: files stay open, only wanted bytes are parsed, and what a host
does not need (shards, containers, scheduled tasks) is not even compiled there.
"""

import gc
import posix
import select
import time

try:
    from _signal import ITIMER_REAL, setitimer  # type: ignore[import-not-found]
except ImportError:
    from signal import ITIMER_REAL, setitimer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sidestep.backends.sampler.host.files import CLK, NOTHING, read, there
    from sidestep.backends.sampler.host.machine import Machine

HOST, SHARD = 36, 10
STATE_NAME = b"sidestep"
#: seconds between looks at what seldom changes
RARELY = 10.0
#: seconds between looks whether limits were changed, and for scheduled tasks
FACTS_EVERY = 60.0
TASKS_EVERY = 900.0


class Console:
    """What the other end says: ``i<ms>`` interval, ``l<s>`` lease, ``n`` now, ``q`` end."""

    def __init__(self, interval):
        # type: (float) -> None
        self.interval, self.lease, self.pending, self.ended = interval, 60.0, b"", False
        self.due, self.parent = time.monotonic(), posix.getppid()
        self.input = select.poll()
        self.input.register(0, select.POLLIN)
        setitimer(ITIMER_REAL, self.lease)

    def wait(self):
        # type: () -> float
        """Return when a sample is due, with the time, or when it is over."""
        while not self.ended:
            now = time.monotonic()
            if now >= self.due:
                # What was missed is not made up for, or a host that was suspended would say it all at once.
                self.due = self.due + self.interval if now - self.due < self.interval else now + self.interval
                self.ended = posix.getppid() != self.parent
                return now
            if self.input.poll(min((self.due - now) * 1e3, 5e3)):
                self.listen()
            elif posix.getppid() != self.parent:
                self.ended = True
        return 0.0

    def listen(self):
        # type: () -> None
        """Take what was said; its end is our end."""
        data = posix.read(0, 4096)
        if not data:
            self.ended = True
            return
        spoken = (self.pending + data).split(b"\n")
        self.pending = spoken.pop()
        for line in spoken:
            if line[:1] == b"i":
                self.interval = max(0.05, int(line[1:]) / 1e3)
                self.due = min(self.due, time.monotonic() + self.interval)
            elif line[:1] == b"l":
                self.lease = max(0.05, float(line[1:]))
            elif line[:1] == b"n":
                self.due = time.monotonic()
            elif line[:1] == b"q":
                self.ended = True
        setitimer(ITIMER_REAL, self.lease)


def say(data):
    # type: (bytes) -> None
    """Write all of it."""
    while data:
        data = data[posix.write(1, data) :]


class Sampler:
    """The whole: greets, then a record whenever one is due."""

    def __init__(self, fleet, interval, parts):
        # type: (bytes, float, dict[str, bytes]) -> None
        self.fleet, self.parts, self.seq = fleet, parts, 0
        state = posix.environ.get(b"XDG_STATE_HOME") or posix.environ.get(b"HOME", b"") + b"/.local/state"
        self.root = state + b"/" + STATE_NAME + b"/" + fleet
        self.tree = int(posix.environ.get(b"SIDESTEP_HOST_TREE") or 0)
        self.console, self.machine = Console(interval), Machine()
        self.host = self.machine  # type: Any
        self.groups = None  # type: Any
        self.shards = None  # type: Any
        self.errand = None  # type: Any
        self.names, self.facts, self.planned = None, b"", b""  # type: list[bytes] | None, bytes, bytes
        self.seldom_at = self.facts_at = self.tasks_at = 0.0

    def part(self, name):
        # type: (str) -> dict[str, Any]
        """The names of a part of this program, compiled when it is first needed."""
        source = self.parts.pop(name, None)
        if source is not None:
            exec(compile(source, name, "exec"), globals())  # noqa: S102 - our own, came with us
        return globals()

    def run(self):
        # type: () -> None
        """Sample until it is over."""
        boot = read(b"/proc/sys/kernel/random/boot_id", 8)
        kernel = posix.uname().release.encode()
        say(b"H2 %d %s %d python %s\n" % (posix.getpid(), kernel, CLK, boot if len(boot) == 8 else NOTHING))
        facts = self.part("facts")
        self.groups = facts["Groups"]()
        if self.tree:
            self.host = self.part("processes")["Subtree"](self.tree)
        elif self.groups.container == b"bare":
            self.host = self.part("contained")["Contained"](self.groups)
        while True:
            now = self.console.wait()
            if self.console.ended:
                return
            self.seldom(now)
            out = self.host.tokens()
            out.append(b"%d" % (time.time() * 1e3))
            names = self.shards.refresh(now, self.machine.forks) if self.shards is not None else []
            if names != self.names:
                self.names = list(names)
                say(b"K %d %d %s\n" % (HOST, SHARD, b",".join(names) or NOTHING))
            if names:
                out += self.shards.tokens(now)
            self.seq += 1
            say(b"V %d %d %s\n" % (self.seq, time.monotonic() * 1e3, b" ".join(out)))

    def seldom(self, now):
        # type: (float) -> None
        """What need not be done for every sample."""
        if self.shards is None and (there(self.root) or (now >= self.seldom_at and self.groups.slice_of(self.fleet))):
            self.part("processes")
            self.shards = self.part("shards")["Shards"](self)
        if self.errand is not None:
            planned = self.errand.result(now)
            if planned is not None:
                self.errand = None
                if planned != self.planned:
                    self.planned = planned
                    say(b"T %s\n" % planned)
        if now < self.seldom_at:
            return
        self.seldom_at = now + RARELY
        if self.seq and now >= self.tasks_at and not self.tree:
            self.tasks_at = now + TASKS_EVERY
            self.errand = self.part("tasks")["Errand"](now)
        if now < self.facts_at:
            return
        self.facts_at = now + FACTS_EVERY
        facts = self.groups.facts(self.tree, self.machine.pressures[0] >= 0)
        if facts != self.facts:
            self.facts = facts
            say(b"F %s\n" % facts)


def main(fleet, interval, parts):
    # type: (str, str, dict[str, bytes]) -> None
    """Sample until it is over, and say why it failed if it does."""
    gc.disable()
    try:
        Sampler(fleet.encode(), float(interval), parts).run()
    except (BrokenPipeError, KeyboardInterrupt):
        posix._exit(1)
    except Exception as error:  # noqa: BLE001 - supervisor: the console must learn why we ended
        text = ("%s: %s" % (type(error).__name__, error)).replace("\n", " ")
        say(b"E failed %s\n" % text.encode("ascii", "replace")[:500])
        posix._exit(1)
