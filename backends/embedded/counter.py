"""A key-value counter service: the demonstration's shard. Standard library only, one file, one thread.

    python3 -S -I counter.py serve [--standby] [--report] [--cost SECONDS] [--padding BYTES]
    python3 -S -I counter.py save|load|quiesce|resume|ready|total

It serves TCP at $ADDRESS:$PORT as shard $SHARD under the fencing token $TOKEN. The other
verbs are clients of that address: ``save`` writes the state to standard output, ``load``
reads it from standard input, ``ready`` exits 0 while the shard serves.

Protocol, lines of ASCII that end in a newline, answered in order:

    INC <id> <key>     OK <id> <token> <seq> <value>   counted: the seq-th of the shard
                       BUSY <id>                       quiesced: not counted, and never will be
    SAVE               STATE <n>, then n bytes         the whole state, the same bytes for the same state
    LOAD <n>, n bytes  DONE                            replaces the state; only while quiesced
    QUIESCE, RESUME    DONE
    READY              READY <token> serving|quiesced
    TOTAL              TOTAL <token> <applied>
    anything else      ERROR <reason>

With --report an OK ends in `` cpu_s=<seconds> max_rss=<bytes> x.keys=<n>``: what the request
cost, and how many keys there were; the router reads that.

Every INC costs --cost seconds of processor time, spent on hashing the state, so that load
is real and the same on every machine.
"""

import os
import resource
import select
import socket
import sys
import time
import zlib

BLOCK = 16384
LONGEST_LINE = 4096
LARGEST_STATE = 1 << 28
PATIENCE = 10.0


def make_padding(shard: str, size: int) -> str:
    """Hexadecimal digits that differ from shard to shard and do not compress."""
    seed = zlib.crc32(shard.encode())
    return "".join(f"{zlib.crc32(b'%d' % i, seed):08x}" for i in range(size // 8))


class Counter:
    """The state, and what each verb does to it."""

    def __init__(self, token: str, cost: float, padding: str, standby: bool, report: bool = False) -> None:
        self.token = token
        self.cost = cost
        self.quiesced = standby
        self.report = report
        self.applied = 0
        self.counts: dict[str, int] = {}
        self.set_padding(padding)
        self.spent = time.thread_time()

    def set_padding(self, padding: str) -> None:
        """Take the ballast of the state, and cut the block that work is done on."""
        self.padding = padding
        self.block = (padding.encode() or b"sidestep") * (BLOCK // max(1, len(padding)) + 1)
        self.block = self.block[:BLOCK]

    def increment(self, request: str, key: str) -> bytes:
        """Count a request, unless quiesced."""
        if self.quiesced:
            return f"BUSY {request}\n".encode()
        self.applied += 1
        value = self.counts.get(key, 0) + 1
        self.counts[key] = value
        return f"OK {request} {self.token} {self.applied} {value}{self.burn()}\n".encode()

    def burn(self) -> str:
        """Hash until this request has cost its processor time, reading and answering included; say what it cost."""
        began = self.spent
        due, check = self.spent + self.cost, self.applied
        while time.thread_time() < due:
            check = zlib.crc32(self.block, check)
        self.spent = time.thread_time()
        if not self.report:
            return ""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return f" cpu_s={self.spent - began:.6f} max_rss={most} x.keys={len(self.counts)}"

    def save(self) -> bytes:
        """The state as sorted JSON without spaces."""
        import json  # noqa: PLC0415 - only the two verbs that need it pay for it

        state = {"applied": self.applied, "counts": self.counts, "padding": self.padding}
        return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()

    def load(self, data: bytes) -> bytes:
        """Replace the state, all of it or nothing."""
        import json  # noqa: PLC0415 - only the two verbs that need it pay for it

        if not self.quiesced:
            return b"ERROR a serving shard takes no state\n"
        try:
            state = json.loads(data)
            applied, padding = int(state["applied"]), str(state["padding"])
            counts = {str(key): int(value) for key, value in state["counts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"ERROR not a state: {type(error).__name__}\n".encode()
        if sum(counts.values()) != applied:
            return b"ERROR not a state: the counts do not add up to what was applied\n"
        self.applied, self.counts = applied, counts
        self.set_padding(padding)
        return b"DONE\n"

    def control(self, verb: str) -> bytes:
        """Answer a verb without arguments."""
        if verb == "SAVE":
            state = self.save()
            return b"STATE %d\n" % len(state) + state
        if verb in ("QUIESCE", "RESUME"):
            self.quiesced = verb == "QUIESCE"
            return b"DONE\n"
        if verb == "READY":
            return f"READY {self.token} {'quiesced' if self.quiesced else 'serving'}\n".encode()
        if verb == "TOTAL":
            return f"TOTAL {self.token} {self.applied}\n".encode()
        return b"ERROR unknown verb\n"


class Connection:
    """One client: what it has sent and has not been answered yet."""

    def __init__(self, peer: socket.socket, counter: Counter) -> None:
        self.peer = peer
        self.counter = counter
        self.unread = bytearray()
        #: bytes of a state that is being loaded, 0 for none
        self.loading = 0
        peer.settimeout(PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> bool:
        """Take what has come; False at the end."""
        try:
            data = self.peer.recv(65536)
        except OSError:
            return False
        self.unread += data
        return bool(data) and (self.loading > 0 or b"\n" in self.unread or len(self.unread) < LONGEST_LINE)

    def pending(self) -> bool:
        """Whether a whole request waits."""
        if self.loading:
            return len(self.unread) >= self.loading
        return b"\n" in self.unread

    def answer(self) -> bool:
        """Answer the first request that waits; False if the client cannot be talked to."""
        if self.loading:
            reply = self.counter.load(self.take(self.loading))
            self.loading = 0
        else:
            words = self.take(self.unread.index(b"\n") + 1).decode("ascii", "replace").split()
            reply = self.obey(words)
        try:
            if reply:
                self.peer.sendall(reply)
        except OSError:
            return False
        return True

    def take(self, size: int) -> bytes:
        """The first ``size`` bytes."""
        data = bytes(self.unread[:size])
        del self.unread[:size]
        return data

    def obey(self, words: "list[str]") -> bytes:
        """The reply to a request; b"" when the request goes on."""
        if len(words) == 3 and words[0] == "INC":
            return self.counter.increment(words[1], words[2])
        if len(words) == 2 and words[0] == "LOAD":
            if not words[1].isdigit() or not 0 < int(words[1]) <= LARGEST_STATE:
                return b"ERROR not a size\n"
            self.loading = int(words[1])
            return b""
        reply = self.counter.control(words[0] if len(words) == 1 else "")
        self.counter.spent = time.thread_time()  # control is not paid for by the next request
        return reply


def serve(counter: Counter, listener: socket.socket) -> None:
    """Serve for ever; one request of every client in turn."""
    clients: dict[socket.socket, Connection] = {}
    while True:
        busy = any(c.pending() for c in clients.values())
        readable, _, _ = select.select([listener, *clients], [], [], 0 if busy else None)
        for ready in readable:
            if ready is listener:
                peer, _ = listener.accept()
                clients[peer] = Connection(peer, counter)
            elif not clients[ready].receive():
                clients.pop(ready).peer.close()
        for peer, client in list(clients.items()):
            if client.pending() and not client.answer():
                clients.pop(peer).peer.close()


def endpoint() -> "tuple[str, int]":
    """Where the shard listens, from the environment."""
    try:
        return os.environ["ADDRESS"], int(os.environ["PORT"])
    except (KeyError, ValueError):
        sys.exit("counter: ADDRESS and PORT must be set, PORT to a number")


def ask(request: bytes) -> "tuple[list[str], bytes]":
    """Send a request to the shard; the words of its answer, and the bytes after it."""
    with socket.create_connection(endpoint(), PATIENCE) as peer, peer.makefile("rb") as answers:
        peer.sendall(request)
        words = answers.readline().decode("ascii", "replace").split()
        size = int(words[1]) if words[:1] == ["STATE"] else 0
        state = answers.read(size)
    if not words or words[0] == "ERROR" or len(state) != size:
        sys.exit(f"counter: {' '.join(words) or 'the shard closed the connection'}")
    return words, state


def option(name: str, default: str) -> str:
    """The value of ``--name VALUE``."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv[:-1] else default


def run_server() -> None:
    """Serve as the environment and the options say."""
    address, port = endpoint()
    padding = make_padding(os.environ.get("SHARD", ""), int(option("--padding", "131072")))
    cost, standby = float(option("--cost", "0.002")), "--standby" in sys.argv
    report = "--report" in sys.argv
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(64)
        serve(Counter(os.environ.get("TOKEN", "0"), cost, padding, standby, report), listener)


def main() -> int:
    """Serve, or be the client that a hook needs."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "serve":
        run_server()
    elif verb == "save":
        sys.stdout.buffer.write(ask(b"SAVE\n")[1])
    elif verb == "load":
        data = sys.stdin.buffer.read()
        ask(b"LOAD %d\n" % len(data) + data)
    elif verb in ("quiesce", "resume"):
        ask(verb.upper().encode() + b"\n")
    elif verb == "ready":
        return 0 if ask(b"READY\n")[0][-1] == "serving" else 1
    elif verb == "total":
        print(ask(b"TOTAL\n")[0][-1])
    else:
        sys.exit("usage: counter.py serve|save|load|quiesce|resume|ready|total")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"counter: {error}")
