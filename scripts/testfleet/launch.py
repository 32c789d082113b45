"""Starting the processes of a fleet: a host's PID 1, the file system of its own numbers, commands inside it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.testfleet.cgroups import Cgroups
from scripts.testfleet.plan import HostPlan
from scripts.testfleet.processes import Process, alive, identify
from scripts.testfleet.shell import FleetError
from scripts.testfleet.state import Places

_BOOT: Final = Path(__file__).with_name("boot.sh")
_LXCFS_GROUP: Final = "_lxcfs"
_DROPPED: Final = "-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override"
#: what commands in hosts see, whoever starts them
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def start_lxcfs(places: Places, groups: Cgroups) -> str:
    """Start the file system that shows every host its own numbers in /proc; returns why it does not run."""
    if not shutil.which("lxcfs"):
        return "lxcfs is not installed: /proc in hosts shows the machine's numbers"
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse for lxcfs: /proc in hosts shows the machine's numbers"
    places.lxcfs.mkdir()
    groups.make(_LXCFS_GROUP)
    log = places.base / "lxcfs.log"
    arguments = ("-f", "-l", "--enable-cfs", "--enable-pidfd", "-p", str(places.base / "lxcfs.pid"))
    command = f"{_enter(groups, _LXCFS_GROUP)} exec lxcfs {shlex.join((*arguments, str(places.lxcfs)))}"
    server = _spawn(["sh", "-c", command], log)
    deadline = time.monotonic() + 10
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if (places.lxcfs / "proc" / "stat").exists():
                return ""
        time.sleep(0.01)
    groups.empty(_LXCFS_GROUP)
    return f"lxcfs does not start: /proc in hosts shows the machine's numbers: {_tail(log)}"


def start_host(places: Places, image: Path, groups: Cgroups, host: HostPlan) -> Process:
    """Start a host whose disk, network and group are made; returns its PID 1, which may still be booting."""
    folder = places.host(host.name)
    lxcfs = str(places.lxcfs) if (places.lxcfs / "proc" / "stat").exists() else ""
    boot = (
        *("sh", str(_BOOT), str(folder), str(image), host.layout, str(groups.unified(host.name))),
        *(lxcfs, str(uuid.uuid4()), _DROPPED),
    )
    command = (
        f"{_enter(groups, host.name)} exec nsenter --net={shlex.quote(str(places.namespace(host.name)))}"
        " unshare --mount --pid --uts --ipc --cgroup --fork --kill-child=SIGKILL"
        f" {shlex.join(boot)}"
    )
    log = folder / "boot.log"
    launcher = _spawn(["sh", "-c", command], log)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    deadline = time.monotonic() + 20
    while launcher.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            for pid in children.read_text().split():
                if (process := identify(int(pid))) is not None:
                    return process
        time.sleep(0.002)
    raise FleetError(f"{host.name}: does not start: {_tail(log)}")


def boot_tail(places: Places, host: str) -> str:
    """The last words of a host's boot."""
    return " / ".join(filter(None, (_tail(places.host(host) / name) for name in ("boot.log", "console"))))


def command_in(groups: Cgroups, host: str, pid1: Process, argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` as root inside a host, counted and limited as part of it."""
    if not alive(pid1):
        raise FleetError(f"{host}: is off", hint=f"start it: python -m scripts.testfleet start {host}")
    if groups.frozen(host):
        raise FleetError(f"{host}: is frozen", hint=f"let it go on: python -m scripts.testfleet thaw {host}")
    # With no more privileges than boot.sh leaves to the host's own root.
    drop = f"/usr/bin/setpriv --bounding-set={_DROPPED} --inh-caps=-all"
    inside = f"{drop} {shlex.join(('/usr/bin/env', '-i', f'PATH={_PATH}', 'HOME=/root', 'LANG=C.UTF-8', *argv))}"
    enter = f"nsenter -t {pid1.pid} -m -u -i -n -p -C --root --wd"
    return ["sh", "-c", f"{_enter(groups, host)} exec {enter} {inside}"]


def _enter(groups: Cgroups, group: str) -> str:
    """Shell text that moves the shell into a group."""
    files = shlex.join(str(file.parent) for file in groups.entrances(group))
    # On pure cgroup2 systemd has made the group itself a branch, which takes no processes.
    return (
        f"for g in {files}; do"
        " { echo $$ >$g/cgroup.procs; } 2>/dev/null || echo $$ >$g/init.scope/cgroup.procs || exit; done;"
    )


def _spawn(argv: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start something that outlives us, in a session of its own, with its words in ``log``."""
    with log.open("ab") as out:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/", env=_environment()
        )


def _environment() -> dict[str, str]:
    return {"PATH": f"{os.environ.get('PATH', '')}:{_PATH}", "LANG": "C.UTF-8"}


def _tail(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()[-600:]
    return ""
