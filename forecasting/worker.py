"""The forecasting process: ``python -m sidestep.forecasting.worker``.

Everything heavy is imported here and nowhere else. Requests come on standard input and
answers go to standard output; what libraries print goes to standard error. Ends at the end
of standard input, so it never outlives the daemon.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import BinaryIO

from sidestep.fleet.errors import ProtocolError, UsageError
from sidestep.fleet.labels import scrub
from sidestep.forecasting import wire


def private_output() -> BinaryIO:
    """Our own copy of standard output; whatever else prints there goes to standard error."""
    kept = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return kept


def configure(data: bytes) -> tuple[wire.Response, object]:
    """Load everything for the configuration in a first frame: the answer, and the service if it is Ready."""
    from sidestep.forecasting.service import Service  # noqa: PLC0415

    request = wire.parse_request(data)
    if not isinstance(request, wire.Configure):
        raise ProtocolError(f"the oracle must be configured first, got {type(request).__name__}")
    try:
        return wire.Ready(os.getpid(), request.spec.model), Service(request.spec, request.horizon)
    except UsageError as error:
        return wire.Failed(scrub(str(error))), None


def respond(service: object, request: wire.Request) -> wire.Response:  # noqa: PLR0911 - one a request
    """The answer to one request."""
    from sidestep.forecasting.service import Service  # noqa: PLC0415

    assert isinstance(service, Service)
    match request:
        case wire.Ask():
            return service.answer(request)
        case wire.Replay():
            for row in request.rows:
                service.learn(row)
            return wire.Replayed(len(request.rows))
        case wire.Past():
            return wire.Replayed(service.prime(request))
        case wire.Know():
            return service.know(request)
        case wire.Adopt():
            return service.adopt(request)
        case wire.AskScores():
            return service.scores()
        case wire.AskLearned():
            return service.learned()
        case wire.Configure():
            raise ProtocolError("the oracle is configured already")


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every frame until the input ends. Raises ProtocolError for a frame that was cut off."""
    data = wire.read_frame(requests)
    if data is None:
        return
    ready, service = configure(data)
    _send(answers, ready)
    if service is None:
        return
    while (data := wire.read_frame(requests)) is not None:
        frame = [data]
        del data  # a past is large, and read out of its frame it is there once more
        _send(answers, _answer(service, frame))


def _answer(service: object, frame: list[bytes]) -> wire.Response:
    """The answer to the one frame, which is taken out. It is not kept: it holds the forecast before the next one."""
    try:
        return respond(service, wire.parse_request(frame.pop()))
    except Exception as error:  # noqa: BLE001 - the supervisor of one request: it is refused, the worker goes on
        return wire.Failed(scrub(f"{type(error).__name__}: {error}"))


def _send(answers: BinaryIO, response: wire.Response) -> None:
    answers.write(wire.pack(response))
    answers.flush()


def main() -> int:
    """Serve on the standard streams; the exit status is 0 at the end of input and 2 for a broken frame."""
    answers = private_output()
    os.nice(10)
    warnings.simplefilter("ignore")
    try:
        serve(sys.stdin.buffer, answers)
    except ProtocolError as error:
        print(f"oracle worker: {error}", file=sys.stderr)
        return 2
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
