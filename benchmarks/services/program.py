"""A service that writes every request into a ledger, over HTTP. Runs on hosts: nothing but Debian's python3-minimal.

    python3 -S -I program.py serve [--standby] [--durable] [--cost SECONDS] [--spin]
    python3 -S -I program.py save|load|drop|quiesce|resume|ready

    GET /APP/KEY/ID    200: in the ledger; 503 while quiesced: not, and it never will be
    GET /_/save        the ledger: "KEY ID" lines, in the order of their keys' slots

Hooks are clients of $ADDRESS:$PORT and heed LO and HI (half-open, slots of keys). With --durable the ledger is the
file $STATE/ledger, for drivers that carry files. --spin uses all processor time that is left, as a batch job does.

As a module it is the service of a pool of Python instances: each has a ledger of its own in /var/lib/ledger, and
takes PAUSE seconds for a request.
"""

import os
import select
import socket
import sys
import time
import zlib

PATIENCE = 10.0
BLOCK = b"sidestep" * 2048
FOLDER = "/var/lib/ledger"
PAUSE = 0.08


def slot(key):
    """The slot of a key."""
    return zlib.crc32(key.encode()) & 65535


class Ledger:
    """What was done, and what each request does to it."""

    def __init__(self, *, standby=False, cost=0.0, path=""):
        self.quiesced, self.cost, self.rows, self.file = standby, cost, [], None
        if path:
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with open(path) as file:  # noqa: PTH123 - hosts start it often, without pathlib
                self.rows = [tuple(line.split()) for line in file]

    def answer(self, path, body):
        """Status and body for a request."""
        words = path.strip("/").split("/")
        if words[0] == "_":
            return self.control(words[1], words[2:], body)
        if self.quiesced:
            return 503, b"quiesced\n"
        if len(words) != 3:
            return 404, b"\n"
        until = time.thread_time() + self.cost
        while self.cost and time.thread_time() < until:
            zlib.crc32(BLOCK)
        self.rows.append((words[1], words[2]))
        if self.file is not None:
            os.write(self.file, f"{words[1]} {words[2]}\n".encode())
        return 200, b"done\n"

    def control(self, verb, words, body):
        """Answer a hook."""
        lo, hi = (int(word) for word in words) if words else (0, 65536)
        if verb == "save":
            rows = sorted((slot(key), key, name) for key, name in self.rows if lo <= slot(key) < hi)
            return 200, "".join(f"{key} {name}\n" for _, key, name in rows).encode()
        if verb == "load":
            if not self.quiesced:
                return 409, b"a serving shard takes no state\n"
            kept = [row for row in self.rows if words and not lo <= slot(row[0]) < hi]
            self.rows = kept + [tuple(line.split()) for line in body.decode().splitlines()]
        elif verb == "drop":
            self.rows = [row for row in self.rows if not lo <= slot(row[0]) < hi]
        elif verb in ("quiesce", "resume"):
            self.quiesced = verb == "quiesce"
        elif verb != "ready":
            return 404, b"unknown verb\n"
        elif self.quiesced:
            return 503, b"quiesced\n"
        return 200, b"done\n"


def split(unread):
    """The first whole request in these bytes as (path, body, bytes that it took), or None."""
    end = unread.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = unread[:end].decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(":", 1) for line in lines[1:])
    size = int(fields.get("content-length", "0"))
    if len(unread) < end + 4 + size:
        return None
    return lines[0].split()[1], bytes(unread[end + 4 : end + 4 + size]), end + 4 + size


def reply(status, text):
    """The bytes of an answer."""
    word = b"OK" if status == 200 else b"No"
    return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n" % (status, word, len(text)) + text


def run(ledger, listener, spin):
    """Serve for ever in one thread."""
    clients = {}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    peers = {listener.fileno(): listener}
    while True:
        for number, _ in poll.poll(0 if spin else None):
            peer = peers[number]
            if peer is listener:
                new, _ = listener.accept()
                new.settimeout(PATIENCE)
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[number := new.fileno()] = bytearray()
                peers[number] = new
                poll.register(new, select.POLLIN)
            elif not talk(ledger, peer, clients[number]):
                poll.unregister(number)
                del peers[number], clients[number]
                peer.close()
        if spin:
            zlib.crc32(BLOCK)


def talk(ledger, peer, unread):
    """Take what has come and answer it; False at the end."""
    try:
        data = peer.recv(1 << 16)
        unread += data
        while (found := split(unread)) is not None:
            path, body, size = found
            del unread[:size]
            peer.sendall(reply(*ledger.answer(path, body)))
    except (OSError, ValueError, LookupError):
        return False
    return bool(data)


def ask(verb, body=b""):
    """Do one hook at the shard that serves."""
    words = [os.environ[name] for name in ("LO", "HI") if os.environ.get(name)]
    where = os.environ["ADDRESS"], int(os.environ["PORT"])
    with socket.create_connection(where, PATIENCE) as peer, peer.makefile("rb") as answers:
        head = f"POST {'/'.join(['', '_', verb, *words])} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.sendall(head.encode() + body)
        status, size = answers.readline().split(), 0
        while (line := answers.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        text = answers.read(size)
    if status[1:2] != [b"200"] or len(text) != size:
        sys.exit(f"ledger: {verb}: {text.decode('utf-8', 'replace')}")
    return text


def serve(listener, context):
    """The service of a pool: a thread a connection, a ledger an instance."""
    import threading  # noqa: PLC0415 - only instances of pools need it

    os.makedirs(FOLDER, exist_ok=True)  # noqa: PTH103
    ledger = Ledger(path=f"{FOLDER}/{context.tenant}-{context.port}-{os.getpid()}-{time.time_ns()}")

    def attend(peer):
        unread = bytearray()
        with peer:
            while data := peer.recv(1 << 16):
                unread += data
                while (found := split(unread)) is not None:
                    del unread[: found[2]]
                    with context.request():
                        time.sleep(PAUSE)
                        peer.sendall(reply(*ledger.answer(found[0], found[1])))

    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=attend, args=(peer,), daemon=True).start()


def main():
    """Serve, or be the client that a hook needs."""
    verb = sys.argv[1]
    if verb == "serve":
        path = os.environ["STATE"] + "/ledger" if "--durable" in sys.argv else ""
        cost = float(sys.argv[sys.argv.index("--cost") + 1]) if "--cost" in sys.argv else 0.0
        ledger = Ledger(standby="--standby" in sys.argv, cost=cost, path=path)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((os.environ["ADDRESS"], int(os.environ["PORT"])))
            listener.listen(512)
            run(ledger, listener, "--spin" in sys.argv)
    elif verb == "save":
        sys.stdout.buffer.write(ask(verb))
    elif verb == "load":
        ask(verb, sys.stdin.buffer.read())
    else:
        ask(verb)


if __name__ == "__main__":
    main()
