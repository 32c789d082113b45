"""Executors on this machine: spawned worker processes over pipes, and one without any process."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Final

from sidestep.sharding.execute.contract import BadPayload, ExecutorLost, run_shard

_FRAME: Final = struct.Struct(">Q")
_LARGEST: Final = 16 << 30


class InProcess:
    """Runs shards one after the other in this process, on private copies all the same."""

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers

    @property
    def workers(self) -> int:
        """How many shards a loop is cut into."""
        return self._workers

    def run(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Run all."""
        return [run_shard(payload) for payload in payloads]


class LocalProcesses:
    """Worker processes of their own, started once and kept: ``with LocalProcesses(2) as executor``.

    Each reads payloads from its standard input and answers on its standard output, and ends with it. One that
    answers wrongly or dies is replaced before the next call; the call itself raises ExecutorLost.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """How many processes there are."""
        return self._workers

    @property
    def pids(self) -> list[int]:
        """The processes that are running."""
        return [p.pid for p in self._processes]

    def __enter__(self) -> LocalProcesses:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        alive = [p for p in self._processes if p.poll() is None]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [sys.executable, "-c", "from sidestep.sharding.execute.local import serve; serve()"]
        while len(alive) < self._workers:
            alive.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment))
        self._processes = alive

    def close(self) -> None:
        """End all workers; they end by themselves when their input does."""
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.terminate()
            process.wait()
        self._processes = []

    def run(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Run all, at most as many at a time as there are workers. Raises ExecutorLost."""
        with self._lock:
            self._start()
            answers: list[bytes | None] = [None] * len(payloads)
            turns = [range(n, len(payloads), self._workers) for n in range(self._workers)]
            threads = [
                threading.Thread(target=self._feed, args=(process, turn, payloads, answers))
                for process, turn in zip(self._processes, turns, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if any(answer is None for answer in answers):
                self.close()
                raise ExecutorLost("a worker died")
            return [answer for answer in answers if answer is not None]

    def _feed(
        self, process: subprocess.Popen[bytes], which: range, payloads: Sequence[bytes], answers: list[bytes | None]
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for n in which:
                _write(process.stdin, payloads[n])
                answers[n] = _read(process.stdout)
        except (OSError, EOFError, ValueError):
            process.kill()


def _write(stream: IO[bytes], data: bytes) -> None:
    stream.write(_FRAME.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    head: bytes = stream.read(_FRAME.size)
    if len(head) < _FRAME.size:
        raise EOFError
    size = _FRAME.unpack(head)[0]
    if size > _LARGEST:
        raise ValueError("too large")
    data: bytes = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve() -> None:
    """A worker's whole life: payloads in, answers out, until the input ends."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get between the answers
    while True:
        try:
            payload = _read(incoming)
        except EOFError:
            return
        try:
            answer = run_shard(payload)
        except BadPayload:
            return
        _write(outgoing, answer)
