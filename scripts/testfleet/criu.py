"""A criu for hosts whose own is too old for the kernel: Debian's newest, with the libraries that it was built for.

Nothing of it is installed on the machine: the packages are unpacked into the cache of images, and on a host they are
one folder and a script that starts criu with its own loader. Where the packages cannot be had it is ``Impossible``.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from scripts.testfleet.rootfs import cache, suite
from scripts.testfleet.shell import FleetError, Impossible, call
from scripts.testfleet.sources import machine_sources
from scripts.testfleet.state import locked

#: where it lies on a host, and what it is called by
FOLDER: Final = "/opt/criu"
COMMAND: Final = "/usr/local/sbin/criu"
#: Hosts of a test fleet may not set clocks, and need not: theirs is the same one. So criu is kept from doing so.
_SCRIPT: Final = f"""#!/bin/sh
if [ "$1" = restore ]; then
    before=''
    for word; do
        [ "$before" != --images-dir ] || rm -f "$word/timens-0.img"
        before=$word
    done
fi
for loader in {FOLDER}/lib/ld-linux*; do exec "$loader" --library-path {FOLDER}/lib {FOLDER}/criu "$@"; done
"""


def archive() -> bytes:
    """A tar file to be unpacked at the root of a host. Raises Impossible where nothing was prepared."""
    image = _place()
    if not image.is_dir():
        raise Impossible("no criu for hosts was prepared; what `python -m scripts.testfleet run` says first tells why")
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz", compresslevel=1) as tar:
        tar.add(image, arcname=FOLDER.strip("/"))
        script = tarfile.TarInfo(COMMAND.strip("/"))
        script.mode, script.size = 0o755, len(_SCRIPT)
        tar.addfile(script, io.BytesIO(_SCRIPT.encode()))
    return held.getvalue()


def prepare() -> None:
    """Fetch it unless that was done before; inside of a fleet no archive can be reached. Raises Impossible."""
    image = _place()
    if image.is_dir():
        return
    source = _source(_release())
    folder = image.parent
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not image.is_dir():
            part = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
            try:
                _unpack(part, source)
                (part / "criu").rename(image)
            except FleetError as error:
                raise Impossible(f"no criu of {_release()} can be had: {error}") from error
            finally:
                shutil.rmtree(part, ignore_errors=True)


def _release() -> str:
    return os.environ.get("SIDESTEP_TESTFLEET_CRIU_SUITE") or "sid"


def _place() -> Path:
    return cache() / f"criu-{_release()}"


def _source(release: str) -> str:
    """The archive that the machine itself uses, for another release."""
    words = " ".join(machine_sources(suite()).values()).split()
    uri = next((word for word in words if word.startswith(("http://", "https://", "file:"))), "")
    if not uri or not shutil.which("apt-get"):
        raise Impossible("no APT archive of Debian's is known here to get a criu from")
    signed = next((words[at + 1] for at, word in enumerate(words[:-1]) if word == "Signed-By:"), "")
    options = f"check-valid-until=no{f' signed-by={signed}' if signed else ''}"
    return f"deb [{options}] {uri} {release} main\n"


def _unpack(part: Path, source: str) -> None:
    """criu and all that it needs below ``part``/criu: the program, and one folder of libraries."""
    for name in ("lists/partial", "cache/archives/partial", "root", "criu/lib"):
        (part / name).mkdir(parents=True)
    (part / "sources").write_text(source)
    (part / "status").touch()  # as if nothing were installed: every library comes along
    own = {
        "Dir::Etc::SourceList": part / "sources", "Dir::Etc::SourceParts": "/dev/null", "Dir::State": part,
        "Dir::State::Lists": part / "lists", "Dir::State::status": part / "status", "Dir::Cache": part / "cache",
        "APT::Install-Recommends": "no", "Acquire::Languages": "none", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in own.items())]
    call([*apt, "update"], timeout=240)
    call([*apt, "--yes", "--download-only", "install", "criu"], timeout=240)
    for package in (part / "cache" / "archives").glob("*.deb"):
        call(["dpkg-deb", "-x", str(package), str(part / "root")])
    usr = part / "root" / "usr"
    program = next((path for path in (usr / "sbin" / "criu", usr / "bin" / "criu") if path.is_file()), None)
    if program is None:
        raise FleetError("the package holds no criu")
    shutil.copy2(program, part / "criu" / "criu")
    for library in (*usr.glob("lib/*/*.so*"), *usr.glob("lib/*/ld-linux*"), *usr.glob("lib*/ld-linux*")):
        if library.is_file():
            shutil.copy2(library, part / "criu" / "lib" / library.name)
