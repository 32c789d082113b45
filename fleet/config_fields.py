"""The keys of the fleet file: how each value is read, and the remedy when it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

from sidestep.fleet import config_routing as routing
from sidestep.fleet.config_operation import METRICS as METRICS_AT
from sidestep.fleet.config_operation import endpoint, references
from sidestep.fleet.config_oracle import METRICS, MODELS, forecaster, metrics, model, parameters
from sidestep.fleet.config_read import (
    NAME_HINT,
    Reader,
    automatic,
    between,
    choice,
    chosen,
    distinct,
    filled,
    flag,
    folder,
    jump,
    keys,
    label,
    labels,
    lock_socket,
    name,
    named,
    names,
    ports,
    reference,
    reserve,
    seconds,
    size,
    text,
    user,
    whole,
    windows,
    word,
)
from sidestep.fleet.config_windows import app_levels, freezes, ranges, zone
from sidestep.fleet.inventory import (
    AlertKind,
    Domain,
    Driver,
    Failover,
    Kind,
    Level,
    Preference,
    RoundTripMode,
    SamplerKind,
)
from sidestep.fleet.pools import Idle, PoolKind, Shrink


@dataclass(frozen=True)
class Field:
    """One key of a table; ``hint`` is the remedy for a value that ``read`` refuses."""

    read: Reader[Any]
    hint: str
    required: bool = False


_FRACTION: Final = "write a fraction, such as 0.8 for 80 %"
_PRESSURE: Final = "write a fraction of the time, such as 0.4 for 40 %, or 0 for no threshold"
_SECONDS: Final = 'write seconds or a duration, such as "15m"'
_LEVEL: Final = 'write level = "advise", or leave it out for the fleet\'s'
_WEEKLY: Final = 'write windows = ["Mon-Fri 22:00-06:00"], local time of zone'
_SIZE: Final = 'write bytes or a size, such as "512M"'
_TEXT: Final = 'write a text in quotes, such as "h1"'
_CORES: Final = "write cores, such as 4 or 0.5"
_SWITCH: Final = "write true or false without quotes"
_DOMAIN: Final = 'write "host", "rack" or "zone", or leave it out'
_CAP: Final = "write a whole number, such as 4, or 0 for no cap"
_COMMAND: Final = "write the command as one text; the host's shell runs it"

FIELDS: Final[dict[str, dict[str, Field]]] = {
    "fleet": {
        "name": Field(name, NAME_HINT),
        "level": Field(choice(*get_args(Level)), 'write level = "advise"'),
        "interval": Field(seconds(0.1, 3600), _SECONDS),
        "router": Field(text, "write the path of the router's socket"),
        "app_levels": Field(app_levels, 'write app_levels = {kv = "semi"}'),
        "signers": Field(text, "write the path of an allowed_signers file"),
        "banner": Field(label, _TEXT),
        "notice": Field(label, _TEXT),
    },
    "ssh": {
        "known_hosts": Field(text, "write the path of a known_hosts file"),
        "identity": Field(text, "write the path of a private key"),
        "config": Field(text, 'write the path of an ssh_config, "none", or leave it out'),
        "passphrase": Field(reference, 'write "file:PATH" or "command:LINE", or load the key into ssh-agent'),
        "connect_timeout": Field(seconds(0.1, 600), _SECONDS),
        "keepalive": Field(seconds(0.5, 3600), _SECONDS),
        "handshakes": Field(whole(1, 10000), "write a whole number, such as 32"),
        "handshakes_per_address": Field(whole(1, 10000), "write a whole number below sshd's MaxStartups, such as 8"),
        "round_trips": Field(choice(*get_args(RoundTripMode)), 'write round_trips = "off"'),
        "user": Field(user, 'write user = "ops", or leave it out'),
    },
    "policy": {
        "name": Field(label, _TEXT),
        "use": Field(distinct, 'write use = ["proactive", "cost-aware"], the later wins; see: sidestep policies'),
        "quantile": Field(between(0.05, 0.99), _FRACTION),
        "threshold_cpu": Field(between(0, 1.5, above=True), _FRACTION),
        "threshold_memory": Field(between(0, 1, above=True), _FRACTION),
        "threshold_psi_cpu": Field(between(0, 1), _PRESSURE),
        "threshold_psi_memory": Field(between(0, 1), _PRESSURE),
        "threshold_psi_io": Field(between(0, 1), _PRESSURE),
        "min_probability": Field(between(0, 1, above=True), _FRACTION),
        "min_duration": Field(seconds(0), _SECONDS),
        "horizon": Field(seconds(1), _SECONDS),
        "margin": Field(seconds(0), _SECONDS),
        "max_moves": Field(whole(1, 100000), "write a whole number, such as 8"),
        "settle": Field(seconds(0), _SECONDS),
        "min_gain": Field(between(0, 1), _FRACTION),
        "common_factor": Field(between(0, 1), _FRACTION),
        "expire": Field(seconds(1), _SECONDS),
        "observe": Field(seconds(0, 3600), _SECONDS),
        "step_deadline": Field(seconds(0.1, 86400), _SECONDS),
        "aggressiveness": Field(whole(1, 5), "write 1 (only what is mandatory) to 5 (anything that helps)"),
        "prefer": Field(choice(*get_args(Preference)), 'write prefer = "moves" or "bytes"'),
        "goals": Field(distinct, 'write goals = ["headroom", "cost"], the most important first'),
        "kinds": Field(chosen(*get_args(Kind)), 'write kinds = ["migrate", "activate"]'),
        "tolerate": Field(choice(*get_args(Domain)), _DOMAIN),
        "concurrent": Field(whole(1, 10000), "write a whole number, such as 4"),
        "concurrent_per_host": Field(whole(0, 10000), _CAP),
        "concurrent_per_app": Field(whole(0, 10000), _CAP),
        "concurrent_per_zone": Field(whole(0, 10000), _CAP),
        "split_cpu": Field(between(0, 1.5, above=True), _FRACTION),
        "split_latency": Field(seconds(0, 3600), f"{_SECONDS}, or 0 for no threshold"),
        "split_windows": Field(windows, "write split_windows = [3, 5] for 3 of the last 5"),
        "quantum_cpu": Field(between(0, 4096, above=True), _CORES),
        "quantum_memory": Field(size(1 << 20), _SIZE),
        "seed": Field(whole(0, 2**32 - 1), "write a whole number, such as 1"),
        "iterations": Field(whole(1, 10**10), "write a whole number, such as 20000"),
        "reason_required": Field(flag, _SWITCH),
        "two_person": Field(flag, _SWITCH),
        "windows": Field(ranges, _WEEKLY),
        "freezes": Field(freezes, 'write freezes = ["2026-12-20..2027-01-03"]'),
        "quiet": Field(ranges, 'write quiet = ["Mon-Fri 08:00-18:00"]'),
        "zone": Field(zone, 'write the name of a time zone, such as "Europe/Berlin"'),
        "semi_priority": Field(whole(1, 5), "write 1 (only what is mandatory) to 5 (everything)"),
        "semi_bytes": Field(size(0), f"{_SIZE}, or 0 for no cap"),
        "semi_freeze": Field(seconds(0, 86400), f"{_SECONDS}, or 0 for no cap"),
        "semi_probability": Field(between(0, 1), _FRACTION),
        "semi_lead_least": Field(seconds(0), _SECONDS),
        "semi_lead_most": Field(seconds(0), _SECONDS),
        "bandwidth": Field(size(0), 'write bytes a second, such as "100M", or 0 for no cap'),
        "preempt_most": Field(whole(0, 1000), "write a whole number, such as 2, or 0 for none"),
        "constraints": Field(named, 'write constraints = ["NAME"], of installed plugins'),
    },
    "oracle": {
        "enabled": Field(flag, _SWITCH),
        "model": Field(model, f"write one of {', '.join(MODELS)}"),
        "season": Field(seconds(0), _SECONDS),
        "step": Field(automatic(seconds(0.1, 86400)), f"{_SECONDS}, or 0 to have it found"),
        "min_steps": Field(whole(1, 1000000), "write a whole number, such as 20"),
        "deadline": Field(seconds(0.1, 600), _SECONDS),
    },
    "trainer": {
        "enabled": Field(flag, _SWITCH),
        "every": Field(seconds(10, 30 * 86400), 'write a duration, such as "1h"'),
        "history": Field(seconds(60, 3650 * 86400), 'write a duration, such as "14d"'),
        "margin": Field(between(0, 0.9), "write a fraction, such as 0.03 for 3 %"),
        "budget": Field(seconds(1, 86400), "write seconds of processor time, such as 600"),
    },
    "candidate": {
        "model": Field(
            forecaster,
            'write the path of a forecaster, such as "sktime.forecasting.theta.ThetaForecaster", '
            f"or one of {', '.join(MODELS)}",
            required=True,
        ),
        "params": Field(parameters, "write the arguments of its constructor, such as params = { sp = 24 }"),
        "group": Field(label, "name a group of hosts or an app, or leave it out for the whole fleet"),
        "metrics": Field(metrics, f"write some of {', '.join(METRICS)}"),
    },
    "history": {
        "enabled": Field(flag, _SWITCH),
        "keep": Field(seconds(3600), 'write a duration, such as "5w"'),
        "max_bytes": Field(size(1 << 20), _SIZE),
        "pictures": Field(seconds(0, 3600), 'write a duration, such as "5s", or 0 for none'),
        "pictures_max_bytes": Field(size(1 << 20), _SIZE),
    },
    "metrics": {
        "listen": Field(endpoint, f'write listen = "{METRICS_AT}", or leave it out'),
    },
    "failover": {
        "grace": Field(seconds(0, 86400), _SECONDS),
        "lease": Field(seconds(3, 3600), _SECONDS),
        "margin": Field(seconds(0.5, 600), _SECONDS),
        "brake_hosts": Field(whole(1, 100000), "write a whole number, such as 10"),
        "brake_share": Field(between(0, 1, above=True), _FRACTION),
        "quarantine": Field(seconds(0), _SECONDS),
        "poison_hosts": Field(whole(2, 1000), "write a whole number, such as 2"),
        "poison_window": Field(seconds(0), _SECONDS),
    },
    "router": {
        "engine": Field(word, 'write engine = "haproxy" or "embedded"'),
        "socket": Field(text, "write the path of the router's socket"),
        "folder": Field(routing.path, 'write an absolute path, such as "/var/lib/sidestep"'),
        "host": Field(label, "write the name of a host of this fleet, or leave it out for this machine"),
        "bind": Field(routing.bind, 'write bind = "0.0.0.0:8080"'),
        "app": Field(routing.sample, 'write app = "path,field(2,/)" or "req.hdr(x-app)"'),
        "key": Field(routing.sample, 'write key = "path,field(3,/)" or "req.hdr(x-key)"'),
        "endpoints": Field(whole(0, 256), "write a whole number, such as 8"),
        "wait": Field(seconds(0.1, 3600), _SECONDS),
    },
    "alerts": {
        "targets": Field(references, 'write targets = ["file:~/alerts"], a file with the address of one target'),
        "kinds": Field(chosen(*get_args(AlertKind)), 'write kinds = ["contention", "plans"]'),
        "after": Field(seconds(0, 3600), _SECONDS),
        "limit": Field(whole(1, 3600), "write a whole number of messages an hour, such as 20"),
    },
    "host": {
        "address": Field(word, 'write address = "10.0.0.7" or a name', required=True),
        "port": Field(whole(1, 65535), "write a port between 1 and 65535"),
        "user": Field(user, 'write user = "ops", or leave it out'),
        "identity": Field(text, "write the path of a private key"),
        "jump": Field(jump, 'write jump = "ops@bastion:22", or "none"'),
        "transport": Field(word, 'write transport = "asyncssh" or "paramiko", or the name of a plugin'),
        "sampler": Field(choice(*get_args(SamplerKind)), 'write sampler = "auto"'),
        "cpu": Field(between(0, 4096, above=True), f"{_CORES}; leave it out to have it discovered"),
        "memory": Field(size(1 << 20), f"{_SIZE}; leave it out to have it discovered"),
        "reserve_cpu": Field(reserve(between(0, 4096)), f'{_CORES}, or a share, such as "10%"'),
        "reserve_memory": Field(reserve(size(0)), f'{_SIZE}, or a share, such as "10%"'),
        "zone": Field(label, _TEXT),
        "rack": Field(label, _TEXT),
        "disk": Field(size(0), f"{_SIZE}; leave it out if it does not matter"),
        "standby": Field(flag, _SWITCH),
        "cost": Field(between(0, 1e9), "write the cost per hour as a number"),
        "cordoned": Field(flag, _SWITCH),
        "labels": Field(labels, 'write labels = {rack = "r1"}'),
        "level": Field(choice("", *get_args(Level)), _LEVEL),
        "fence": Field(text, "write a command that returns 0 once the host is off; it is run on the controller"),
        "locks": Field(lock_socket, 'write a path there, such as "/run/shop/fleet.locks", or leave it out'),
    },
    "shard": {
        "app": Field(name, NAME_HINT, required=True),
        "host": Field(label, 'write host = "h1"', required=True),
        "backend": Field(word, 'write backend = "process"'),
        "driver": Field(choice(*get_args(Driver)), 'write driver = "restart", "hook" or "criu"'),
        "start": Field(filled, _COMMAND, required=True),
        "save": Field(text, _COMMAND),
        "load": Field(text, _COMMAND),
        "quiesce": Field(text, _COMMAND),
        "resume": Field(text, _COMMAND),
        "ready": Field(text, _COMMAND),
        "port": Field(whole(0, 65535), "write a port between 1 and 65535, or leave it out"),
        "keys": Field(keys, "write keys = [0, 32768]"),
        "priority": Field(whole(1, 5), "write 1 (highest) to 5"),
        "pinned": Field(flag, _SWITCH),
        "avoid": Field(names, 'write avoid = ["kv-02"]'),
        "near": Field(names, 'write near = ["cache"]'),
        "prefer_near": Field(names, 'write prefer_near = ["cache"]'),
        "spread": Field(choice(*get_args(Domain)), _DOMAIN),
        "requires": Field(labels, 'write requires = {tier = "web"}'),
        "disk": Field(size(0), _SIZE),
        "guarantee_cpu": Field(between(0, 4096), _CORES),
        "guarantee_memory": Field(size(0), _SIZE),
        "limit_cpu": Field(between(0, 4096), f"{_CORES}, or 0 for no limit"),
        "limit_memory": Field(size(0), f"{_SIZE}, or 0 for no limit"),
        "splittable": Field(flag, _SWITCH),
        "level": Field(choice("", *get_args(Level)), _LEVEL),
        "failover": Field(choice(*get_args(Failover)), 'write failover = "capsule", "restart" or "wait"'),
        "replicas": Field(whole(0, 16), "write a whole number, such as 2"),
        "replicate_every": Field(seconds(1, 86400 * 30), _SECONDS),
        "queued": Field(flag, _SWITCH),
        "replicate_quiet": Field(flag, _SWITCH),
        "limit_read": Field(size(0), f"{_SIZE} a second, or 0 for no limit"),
        "limit_write": Field(size(0), f"{_SIZE} a second, or 0 for no limit"),
        "state_path": Field(folder, 'write an absolute path, such as "/var/lib/kv", or leave it out'),
        "drop": Field(text, _COMMAND),
        "spare": Field(flag, _SWITCH),
    },
}
#: a group says who is in it, and whatever a host may say but where it is
FIELDS["group"] = {
    "hosts": Field(names, 'write hosts = ["web[01-20]", "db1"]'),
    "groups": Field(names, 'write groups = ["web", "db"]'),
    **{key: field for key, field in FIELDS["host"].items() if key != "address"},
}
FIELDS["source"] = {
    "plugin": Field(word, 'write plugin = "prometheus", or the name of a plugin', required=True),
    "every": Field(seconds(0.5, 86400), _SECONDS),
    "params": Field(parameters, 'write params = { url = "http://prom:9090", requests = "..." }'),
    "secret": Field(reference, 'write "file:PATH" or "command:LINE"'),
}
FIELDS["action"] = {
    "plugin": Field(word, "write the name of a plugin of the group sidestep.actions; left out, it is NAME"),
    "apps": Field(named, 'write apps = ["batch"]'),
    "shards": Field(named, 'write shards = ["batch-1"]'),
    "params": Field(parameters, "write params = { cores = 1 }"),
}
FIELDS["pool"] = {
    "apps": Field(distinct, 'write apps = ["cart", "search"]'),
    "kind": Field(choice(*get_args(PoolKind)), 'write kind = "python" or "command"'),
    "hosts": Field(distinct, 'write hosts = ["web1", "web2"]', required=True),
    "service": Field(text, 'write the name of a module, such as "shop.cart"'),
    "path": Field(folder, 'write an absolute path, such as "/srv/shop", or leave it out'),
    "python": Field(word, 'write the interpreter, such as "python3"'),
    "start": Field(text, _COMMAND),
    "ready": Field(text, _COMMAND),
    "activate": Field(text, _COMMAND),
    "drain": Field(text, _COMMAND),
    "save": Field(text, _COMMAND),
    "scrub": Field(text, _COMMAND),
    "idle": Field(choice(*get_args(Idle)), 'write idle = "frozen" or "running"'),
    "ports": Field(ports, "write ports = [31000, 31999]"),
    "places": Field(whole(1, 100000), "write a whole number, such as 8"),
    "min": Field(whole(0, 100000), "write a whole number, such as 1"),
    "max": Field(whole(1, 100000), "write max = 20", required=True),
    "ready_min": Field(whole(0, 100000), "write a whole number, such as 1"),
    "guarantee": Field(whole(0, 100000), "write a whole number, such as 2, or 0 for none"),
    "priority": Field(whole(1, 5), "write 1 (highest) to 5"),
    "cpu": Field(between(0, 4096), _CORES),
    "memory": Field(size(0), _SIZE),
    "cost_ratio": Field(between(0, 100000, above=True), "write a number, such as 100"),
    "activate_quantile": Field(between(0.05, 0.999), _FRACTION),
    "margin": Field(seconds(0, 86400), _SECONDS),
    "stabilise": Field(seconds(0, 86400), _SECONDS),
    "step_up": Field(whole(0, 100000), "write a whole number, or 0 for no limit"),
    "step_down": Field(whole(0, 100000), "write a whole number, or 0 for no limit"),
    "shrink": Field(choice(*get_args(Shrink)), 'write shrink = "forecast", "agreed" or "measured"'),
    "react_high": Field(between(0, 1, above=True), _FRACTION),
    "react_low": Field(between(0, 1), _FRACTION),
    "react_most": Field(whole(0, 100000), "write a whole number, or 0 for no correction"),
    "cold": Field(whole(0, 100000), "write a whole number, such as 1, or 0 for none"),
    "drill_every": Field(seconds(0, 86400 * 366), f"{_SECONDS}, or 0 for no drills"),
    "speculative": Field(whole(0, 100000), "write a whole number, such as 2, or 0 for none"),
    "speculative_lead": Field(seconds(0, 86400), _SECONDS),
    "warm_deadline": Field(seconds(0.1, 3600), _SECONDS),
    "activate_deadline": Field(seconds(0.1, 3600), _SECONDS),
    "drain_deadline": Field(seconds(0, 3600), _SECONDS),
}
