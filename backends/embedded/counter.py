"""A key-value counter service: the demonstration's shard. Standard library only, one file, one thread.

    python3 -S -I counter.py serve [--standby] [--report] [--durable] [--cost SECONDS] [--padding BYTES]
    python3 -S -I counter.py save|load|drop|quiesce|resume [TOKEN]|ready|total

It serves TCP at $ADDRESS:$PORT as shard $SHARD under the fencing token $TOKEN. The other
verbs are clients of that address: ``save`` writes the state to standard output, ``load``
reads it from standard input, ``ready`` exits 0 while the shard serves.

Protocol, lines of ASCII that end in a newline, answered in order:

    INC <id> <key>     OK <id> <token> <seq> <value>   counted: the seq-th of the shard
                       BUSY <id>                       quiesced: not counted, and never will be
    GET <id> <key>     OK <id> <token> <applied> <value>, or BUSY <id> while quiesced
    SAVE               STATE <n>, then n bytes         the whole state, the same bytes for the same state
    LOAD <n>, n bytes  DONE                            replaces the state; only while quiesced
    DROP <lo> <hi>     DONE                            forgets a part of it
    QUIESCE, RESUME    DONE; RESUME <token>, of a process that was moved with its memory, which has the one of its start
    READY              READY <token> serving|quiesced
    TOTAL              TOTAL <token> <applied>
    anything else      ERROR <reason>

With --report an OK ends in `` cpu_s=<seconds> max_rss=<bytes> x.keys=<n>``: what the request
cost, and how many keys there were; the router reads that.

With --durable every counted request is a line of the file ``log`` in the folder $STATE, and is on
disk before it is answered, together with those that came with it. That file is the whole state: it is
read at the start, and SAVE gives and LOAD replaces it. What finds no room on the disk is BUSY. Only such a
state is divided: SAVE <lo> <hi>, LOAD <n> <lo> <hi> and DROP are about keys with lo <= slot < hi (CRC-32 of
the key, lowest 16 bits); the verbs take $LO and $HI.

Every INC costs --cost seconds of processor time, spent on hashing the state, so that load
is real and the same on every machine.
"""

import os
import select
import socket
import sys
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 16384
LONGEST_LINE = 4096
LARGEST_STATE = 1 << 28
PATIENCE = 10.0
EVERY = (0, 65536)  # slots


def within(key: str, span: "tuple[int, int]") -> bool:
    """Whether the key's slot is in that half-open range."""
    return span[0] <= zlib.crc32(key.encode()) & 65535 < span[1]


def make_padding(shard: str, size: int) -> str:
    """Hexadecimal digits that differ from shard to shard and do not compress."""
    seed = zlib.crc32(shard.encode())
    return "".join(f"{zlib.crc32(b'%d' % i, seed):08x}" for i in range(size // 8))


class Counter:
    """The state, and what each verb does to it."""

    #: where the state is kept; None is in memory only
    log: "Any" = None

    def __init__(self, token: str, cost: float, padding: str, standby: bool, report: bool = False) -> None:
        self.token = token
        self.cost = cost
        self.quiesced = standby
        self.report = report
        self.applied = 0
        self.counts: dict[str, int] = {}
        self.set_padding(padding)
        self.spent = time.thread_time()

    def keep(self, log: "Any") -> None:
        """Go on from a log, and keep everything in it from now on."""
        self.log = log
        self.recount(log.keys)

    def recount(self, keys: "list[str]") -> None:
        """The state that these requests make."""
        self.applied, self.counts = len(keys), {}
        for key in keys:
            self.counts[key] = self.counts.get(key, 0) + 1

    def commit(self, keys: "list[str]") -> bool:
        """Make the newest requests, of these keys, last; False if they cannot, and were not counted."""
        if self.log is None or self.log.commit():
            return True
        self.applied -= len(keys)
        for key in keys:
            self.counts[key] -= 1
        self.counts = {key: count for key, count in self.counts.items() if count}
        return False

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
        if self.log is not None:
            self.log.round.append(self.log.line(request, key, self.token))
        return f"OK {request} {self.token} {self.applied} {value}{self.burn()}\n".encode()

    def get(self, request: str, key: str) -> bytes:
        """The count of a key, unless quiesced: another owner may have a newer one."""
        if self.quiesced:
            return f"BUSY {request}\n".encode()
        return f"OK {request} {self.token} {self.applied} {self.counts.get(key, 0)}\n".encode()

    def burn(self) -> str:
        """Hash until this request has cost its processor time, reading and answering included; say what it cost."""
        began, due, check = self.spent, self.spent + self.cost, self.applied
        while time.thread_time() < due:
            check = zlib.crc32(self.block, check)
        self.spent = time.thread_time()
        if not self.report:
            return ""
        import resource  # noqa: PLC0415 - not there on hosts with Debian's smallest Python

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return f" cpu_s={self.spent - began:.6f} max_rss={most} x.keys={len(self.counts)}"

    def save(self, span: "tuple[int, int]" = EVERY) -> bytes:
        """The state as sorted JSON without spaces, or the log of these keys."""
        if self.log is not None:
            return bytes(self.log.part(lambda key: within(key, span)))
        import json  # noqa: PLC0415 - only the two verbs that need it pay for it

        state = {"applied": self.applied, "counts": self.counts, "padding": self.padding}
        return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()

    def load(self, data: bytes, span: "tuple[int, int]" = EVERY) -> bytes:
        """Replace the state, all of it or nothing."""
        if not self.quiesced:
            return b"ERROR a serving shard takes no state\n"
        if self.log is not None:
            return self.load_log(self.log, data, span)
        if span != EVERY:
            return b"ERROR only a durable state is divided\n"
        import json  # noqa: PLC0415 - only the two verbs that need it pay for it

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

    def load_log(self, log: "Any", data: bytes, span: "tuple[int, int]") -> bytes:
        """Replace the state of these keys, on disk before it is said to be."""
        if log.good(data) != len(data):
            return b"ERROR not a log\n"
        try:
            log.replace(log.part(lambda key: not within(key, span)) + data)
        except OSError as error:
            return f"ERROR the log is not kept: {os.strerror(error.errno or 0)}\n".encode()
        self.recount(log.keys)
        return b"DONE\n"

    def ranged(self, words: "list[str]") -> bytes:
        """Answer SAVE, or DROP, of a range of keys."""
        span = (int(words[1]), int(words[2]))
        if self.log is None:
            return b"ERROR only a durable state is divided\n"
        if words[0] == "DROP":
            return self.load_log(self.log, b"", span)
        state = self.save(span)
        return b"STATE %d\n" % len(state) + state

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
        self.loading, self.span = 0, EVERY
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

    def key(self) -> str:
        """The key that the request which waits counts or reads; "" for every other request."""
        if self.loading:
            return ""
        words = self.unread[: self.unread.index(b"\n")].decode("ascii", "replace").split()
        return words[2] if len(words) == 3 and words[0] in ("INC", "GET") else ""

    def reply(self) -> bytes:
        """The answer to the first request that waits."""
        if self.loading:
            reply = self.counter.load(self.take(self.loading), self.span)
            self.loading = 0
            return reply
        return self.obey(self.take(self.unread.index(b"\n") + 1).decode("ascii", "replace").split())

    def send(self, reply: bytes) -> bool:
        """Give an answer; False if the client cannot be talked to."""
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
        if len(words) == 3 and words[0] == "GET":
            return self.counter.get(words[1], words[2])
        numbers = all(word.isdigit() for word in words[1:])
        if words[:1] == ["LOAD"] and len(words) in (2, 4):
            if not numbers or not 0 <= int(words[1]) <= LARGEST_STATE:
                return b"ERROR not a size\n"
            self.loading, self.span = int(words[1]), (int(words[2]), int(words[3])) if words[2:] else EVERY
            return b"" if self.loading else self.counter.load(b"", self.span)
        if len(words) == 3 and words[0] in ("SAVE", "DROP") and numbers:
            return self.counter.ranged(words)
        if len(words) == 2 and words[0] == "RESUME" and numbers:
            self.counter.token = words.pop()
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
        waiting = [client for client in clients.values() if client.pending()]
        counting = [client for client in waiting if client.key()]
        replies = one_round(counter, counting)
        replies += [(client, client.reply()) for client in waiting if client not in counting]
        for client, reply in replies:
            if not client.send(reply):
                clients.pop(client.peer).peer.close()


def one_round(counter: Counter, clients: "list[Connection]") -> "list[tuple[Connection, bytes]]":
    """Count and read for each of them once; what cannot be kept is BUSY, and so is what may have read it."""
    replies, counted = [], []
    for client in clients:
        before, key = counter.applied, client.key()
        replies.append((client, client.reply()))
        counted += [key] * (counter.applied - before)
    if not counter.commit(counted):
        replies = [(client, b"BUSY %s\n" % reply.split()[1]) for client, reply in replies]
    return replies


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


def bounds() -> "list[str]":
    """The range of keys that a verb is about, as words of its request; none for all."""
    return [os.environ[name] for name in ("LO", "HI") if os.environ.get(name)]


def option(name: str, default: str) -> str:
    """The value of ``--name VALUE``."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv[:-1] else default


def open_log(folder: str) -> "Any":
    """The log of a folder, made if it is not there."""
    import pathlib  # noqa: PLC0415 - only a durable counter pays for it

    # Isolated, Python does not look for modules beside the program.
    names: dict[str, Any] = {"__name__": "counter_log"}
    program = pathlib.Path(__file__).resolve().with_name("counter_log.py")
    exec(compile(program.read_bytes(), str(program), "exec"), names)  # noqa: S102 - our own file
    return names["Log"](pathlib.Path(folder))


def run_server() -> None:
    """Serve as the environment and the options say."""
    address, port = endpoint()
    padding = make_padding(os.environ.get("SHARD", ""), int(option("--padding", "131072")))
    cost = float(option("--cost", "0.002"))
    standby, report = "--standby" in sys.argv, "--report" in sys.argv
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(64)
        counter = Counter(os.environ.get("TOKEN", "0"), cost, padding, standby, report)
        if "--durable" in sys.argv:
            counter.keep(open_log(os.environ.get("STATE", ".")))
        serve(counter, listener)


def main() -> int:
    """Serve, or be the client that a hook needs."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "serve":
        run_server()
    elif verb == "save":
        sys.stdout.buffer.write(ask(" ".join(["SAVE", *bounds()]).encode() + b"\n")[1])
    elif verb == "load":
        data = sys.stdin.buffer.read()
        ask(" ".join(["LOAD", f"{len(data)}", *bounds()]).encode() + b"\n" + data)
    elif verb == "drop":
        ask(" ".join(["DROP", *(bounds() or map(str, EVERY))]).encode() + b"\n")
    elif verb in ("quiesce", "resume"):
        ask(" ".join([verb.upper(), *sys.argv[2:]]).encode() + b"\n")
    elif verb == "ready":
        return 0 if ask(b"READY\n")[0][-1] == "serving" else 1
    elif verb == "total":
        print(ask(b"TOTAL\n")[0][-1])
    else:
        sys.exit("usage: counter.py serve|save|load|drop|quiesce|resume|ready|total")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"counter: {error}")
