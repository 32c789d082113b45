"""How a sampler is started on a host: the command line of each kind, and what goes to its standard input.

Nothing is written on the host and nothing but a reader of a few lines stands in argv. The
command lines are one ``exec /bin/sh -c '...'`` whose script holds no quote, backslash, ``!``
or newline, so that sh, bash, zsh, fish and csh as login shells all pass it on unchanged.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shlex import quote
from typing import Final

from sidestep.fleet.inventory import SamplerKind

#: tried in this order
CHAIN: Final[tuple[SamplerKind, ...]] = ("python", "perl", "awk", "sh")
#: the system's own first: what a login shell puts before it may be a shim that costs a third of a second
PYTHONS: Final = ("/usr/bin/python3", "/usr/libexec/platform-python")
#: always compiled, in this order, and what is compiled when it is needed
_WHOLE: Final = ("files", "machine", "main")
_PARTS: Final = ("facts", "contained", "processes", "shards", "cgroups", "tasks")
#: read a length and so many bytes, and run them; ``a`` is where the program finds what it was given
_PYTHON_READER: Final = (
    "import posix,sys;a=sys.argv;"
    "take=lambda n,d=bytes():d if len(d)>=n else take(n,d+(posix.read(0,n-len(d))or posix._exit(98)));"
    "exec(compile(take(int(take(8))),a[3],a[3]))"
)
_PERL_READER: Final = (
    r"sub take{my(\$n,\$d)=(@_,q());while(length(\$d)<\$n){sysread(STDIN,\$d,\$n-length(\$d),length(\$d))||exit 98}\$d}"
    r"eval(take(0+take(8)));print STDERR \$@;exit 1"
)


def command(kind: SamplerKind, fleet: str, interval: float) -> str:
    """The command line that starts a sampler of that kind; ``fleet`` must be a plain name, ``interval`` is seconds."""
    given = f"{fleet} {interval:.3f}"
    if kind == "python":
        run = f'exec $P -SEs -c "{_PYTHON_READER}" {given} exec'
        script = f"for P in {' '.join(PYTHONS)} $(command -v python3); do [ -x $P ] && {run}; done; exit 97"
    elif kind == "perl":
        script = f'P=$(command -v perl) || exit 97; exec $P -e "{_PERL_READER}" {given}'
    else:
        script = "exec /bin/sh -s"
    return f"exec /bin/sh -c '{script}'"


def ticking(kind: SamplerKind) -> bool:
    """Whether it must be asked for every sample: what has no clock of its own waits for a line."""
    return kind in ("awk", "sh")


def payload(kind: SamplerKind, fleet: str, lease: float) -> bytes:
    """What the started command reads first; renewing the lease starts after the greeting."""
    if kind == "python":
        return _python()
    if kind == "perl":
        code = _text("sampler.pl").encode()
        return b"%08d" % len(code) + code
    given = f"fleet={quote(fleet)}\nlease={lease:g}\n"
    if kind == "awk":
        given += f"program={quote(_text('sampler.awk'))}\n"
    return (given + _text("common.sh") + _text(f"sampler_{kind}.sh")).encode()


@cache
def _python() -> bytes:
    """The program, then its parts, then what starts it; each with its length."""
    begin = "main(a[1], a[2], {str(take(16).strip(), 'ascii'): take(int(take(8))) for _ in range(int(take(8)))})\n"
    whole = ("\n\n".join([*(_text(f"{name}.py") for name in _WHOLE), begin])).encode()
    out = [b"%08d" % len(whole), whole, b"%08d" % len(_PARTS)]
    for name in _PARTS:
        code = _text(f"{name}.py").encode()
        out += [name.encode().ljust(16), b"%08d" % len(code), code]
    return b"".join(out)


@cache
def _text(name: str) -> str:
    return Path(__file__).with_name("host").joinpath(name).read_text("utf-8")
