"""The training process: ``python -m sidestep.forecasting.training``.

It yields to everything else (nice 19), computes on one thread, may have 4 GiB of address
space, and ends at the end of standard input, so it never outlives the daemon. Its children
have limits of their own (``child``) and die with it.
"""

from __future__ import annotations

import os
import resource
import sys
import warnings
from typing import BinaryIO, Final

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.labels import scrub
from sidestep.forecasting import wire
from sidestep.forecasting.training import protocol

#: bytes of address space of the trainer; a child may have ``child.MEMORY`` beyond what it has then
MEMORY: Final = 4 << 30
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                   "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT")  # fmt: skip


def private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Our own copies of standard input and output; whatever else reads gets nothing, what prints goes to stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every frame until the input ends. Raises ProtocolError for a frame that was cut off."""
    data = wire.read_frame(requests)
    if data is None:
        return
    from sidestep.forecasting.training.trainer import Trainer  # noqa: PLC0415 - loads everything heavy

    begin = protocol.parse_request(data)
    if not isinstance(begin, protocol.Begin):
        raise ProtocolError(f"the trainer must be told to begin first, got {type(begin).__name__}")
    try:
        trainer = Trainer(begin)
    except Exception as error:  # noqa: BLE001 - refused with its reason, whatever it is
        _send(answers, protocol.Failed(scrub(f"{type(error).__name__}: {error}", 600)))
        return
    try:
        _send(answers, trainer.ready())
        while (data := wire.read_frame(requests)) is not None:
            _send(answers, _answer(trainer, data))
    finally:
        trainer.close()


def _answer(trainer: object, data: bytes) -> protocol.Response:
    from sidestep.forecasting.training.trainer import Trainer  # noqa: PLC0415

    assert isinstance(trainer, Trainer)
    try:
        match request := protocol.parse_request(data):
            case protocol.Learn():
                return trainer.learn(request)
            case protocol.Round():
                trainer.begin_round()
                return protocol.State(busy=True)
            case protocol.Wait():
                return trainer.wait(request)
            case protocol.Begin():
                return protocol.Failed("the trainer has begun already")
    except Exception as error:  # noqa: BLE001 - the supervisor of one request: it is refused, the trainer goes on
        return protocol.Failed(scrub(f"{type(error).__name__}: {error}", 600))


def _send(answers: BinaryIO, response: protocol.Response) -> None:
    answers.write(protocol.pack(response))
    answers.flush()


def main() -> int:
    """Serve on the standard streams; the exit status is 0 at the end of input and 2 for a broken frame."""
    for name in _THREADS:
        os.environ[name] = "1"
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve gigabytes of addresses
    requests, answers = private_streams()
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")
    try:
        serve(requests, answers)
    except ProtocolError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
