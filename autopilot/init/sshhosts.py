"""Hosts of an ssh_config: every name that a Host line spells out. What it says about them stays there."""

from __future__ import annotations

from sidestep.autopilot.init.draft import Draft, Found
from sidestep.backends.ssh.resolve import resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import scrub

#: the user of code hosting sites, who has no shell
_FORGE = "git"


def read(config: SshConfig, path: str) -> Draft:
    """The hosts; ``path`` is empty for the user's own file, which is read without being named."""
    draft = Draft(ssh={"config": path} if path else {})
    fleet = FleetSpec(name=scrub("init"), source="fleet.toml", hosts=(), shards=(), ssh_config=path)
    for name in config.names():
        try:
            target = resolve(HostSpec(name=scrub(name), address=name), fleet, config)
        except ConfigError as error:
            draft.leave(name, str(error.args[0]))
            continue
        if target.user == _FORGE:
            draft.leave(name, f"its user is {_FORGE}: a place for code, where no command runs")
            continue
        way = [f"{hop.address}:{hop.port}" for hop in target.jumps]
        machine = (target.address.lower(), str(target.port), *way)
        draft.add(Found(name=name, address=name, machine=machine))
    return draft
