"""What every key of the fleet file means, in a sentence: for the schema and for docs/fleet-file.md.

A test holds it against ``config_fields.FIELDS``, key by key.
"""

from __future__ import annotations

from typing import Final

SECTIONS: Final = {
    "include": "Further files, relative to the folder of this one; patterns such as hosts.d/*.toml are allowed.",
    "fleet": "The fleet as a whole.",
    "ssh": "How hosts are reached. Secrets are never written here, only where they are.",
    "policy": "When to act, how much, and how sure to be.",
    "oracle": "How forecasts are made.",
    "trainer": "How forecasters compete on the fleet's own history (docs/oracle-training.md).",
    "candidates": "Forecasters that compete with the oracle's own model, by a name of your choice.",
    "history": "What is kept of the past on the controller's disk.",
    "defaults": "What holds for every host or shard that does not say otherwise.",
    "hosts": "The hosts, by name; a name may have ranges, such as web[01-40].",
    "groups": "What several hosts share.",
    "shards": "The shards, by name.",
}

_HOST: Final = {
    "address": "Address or name to connect to; with a range in the host's name, one that runs in step with it.",
    "port": "Port of its sshd; where it is 22, a Port in ssh_config counts.",
    "user": "User to log in as; empty is the one of [ssh], then of ssh_config, then yours.",
    "identity": "Private key file for this host; empty is the one of [ssh].",
    "jump": "Jump hosts as ProxyJump writes them; empty is what ssh_config says, none is no jump host.",
    "sampler": "How the host is sampled; sftp is for keys that allow no command.",
    "cpu": "Cores that may be handed out; left out, the host says itself what it has.",
    "memory": "Memory that may be handed out; left out, the host says itself what it has.",
    "reserve_cpu": "Cores kept free and never handed out, or a share of cpu such as 10%.",
    "reserve_memory": "Memory kept free and never handed out, or a share of memory such as 10%.",
    "zone": "Failure domain: shards of one app are spread over zones.",
    "cost": "Cost per hour, for the cost-aware policy.",
    "cordoned": "Whether nothing new is placed there.",
    "labels": "What policies and filters choose hosts by; merged key by key.",
}

DOCS: Final[dict[str, dict[str, str]]] = {
    "fleet": {
        "name": "Name of the fleet; names its socket and its state folder.",
        "level": "Automation level that the daemon starts in.",
        "interval": "Time between two samples of a host.",
        "router": "Socket of the router; empty when the fleet routes by itself.",
        "banner": "Shown on every screen, such as EMBEDDED.",
        "notice": "Shown beside the banner.",
    },
    "ssh": {
        "known_hosts": "File of trusted host keys; empty is what ssh reads: your own and the system's.",
        "identity": "Private key file; empty is what ssh_config says, the agent and the default files.",
        "config": "The ssh_config to read; empty is your own if there is one, none is none.",
        "passphrase": "Where the passphrase of encrypted keys comes from: file:PATH or command:LINE.",
        "connect_timeout": "How long a host may take to answer.",
        "keepalive": "Time between keepalives; a connection that misses two is lost.",
        "handshakes": "Handshakes at a time.",
        "handshakes_per_address": "Handshakes at a time with one address or through one jump host; sshd drops more.",
        "round_trips": "Whether hosts time connections to each other, a few a minute; `auto` is up to 64 hosts.",
        "user": "User to log in as where a host names none.",
    },
    "policy": {
        "name": "Name of the policy, shown with its plans.",
        "quantile": "Demand is planned for at this quantile of the forecast.",
        "threshold_cpu": "Share of the allocatable cores above which a host is in contention.",
        "threshold_memory": "Share of the allocatable memory above which a host is in contention.",
        "threshold_psi_cpu": "Share of the time that tasks may wait for a processor (PSI some); 0 is no threshold.",
        "threshold_psi_memory": "Share of the time that tasks may wait for memory (PSI some); 0 is no threshold.",
        "threshold_psi_io": "Share of the time that tasks may wait for storage (PSI some); 0 is no threshold.",
        "min_probability": "How likely contention must be before anything is proposed.",
        "min_duration": "How long contention must last to count.",
        "horizon": "How far ahead is looked.",
        "margin": "Spare time between the end of a move and the contention that it avoids.",
        "max_moves": "Moves in one plan, at most.",
        "settle": "How long a shard stays where it was moved to.",
        "min_gain": "By how much of the capacity a predicted peak must fall for a move to be worth it.",
        "common_factor": "Correlation between the forecast errors of shards.",
        "expire": "How long a proposed plan can be approved.",
        "observe": "How long the destination is watched before the source is released.",
        "step_deadline": "How long one step of a move may take.",
    },
    "oracle": {
        "enabled": "Whether demand is forecast at all.",
        "model": "The model that serves the whole fleet, one of ours.",
        "season": "Length of a day; 0 is no season.",
        "step": "Grid of the forecast; 0 is the interval, or a sixtieth of the horizon if that is longer.",
        "min_steps": "Valid steps that a forecast needs before it counts.",
        "deadline": "How long a forecast may take.",
    },
    "trainer": {
        "enabled": "Whether forecasters compete at all.",
        "every": "Time between two rounds; drift brings one early.",
        "history": "How far back a round looks, as far as the history reaches.",
        "margin": "By what share of its error a challenger must beat what is served to be promoted.",
        "budget": "Seconds of processor time that one round may take.",
    },
    "candidate": {
        "model": "Path of any importable sktime forecaster, or the name of a model of ours.",
        "params": "Arguments of its constructor; the text season stands for the steps of a day.",
        "group": "A group of hosts or an app whose series it may serve; empty is the whole fleet.",
        "metrics": "What of these it may forecast; hosts and shards do not have all of them.",
    },
    "history": {
        "enabled": "Whether anything is kept over a restart.",
        "keep": "How long minutes are kept.",
        "max_bytes": "Most bytes of all Parquet files together; the oldest hours go first.",
    },
    "host": _HOST,
    "group": {
        "hosts": "Names of its hosts; ranges such as web[01-20] are allowed.",
        "groups": "Groups whose hosts are in this one as well.",
        **{key: said for key, said in _HOST.items() if key != "address"},
    },
    "shard": {
        "app": "The app that it is part of.",
        "host": "Host where it starts.",
        "backend": "The backend that runs it.",
        "driver": "restart begins anew at the destination; hook carries the state over with save and load.",
        "start": "Command that starts it.",
        "save": "Command that writes its state to standard output.",
        "load": "Command that reads its state from standard input.",
        "quiesce": "Command that makes it refuse work.",
        "resume": "Command that makes it serve again.",
        "ready": "Command that exits 0 once it answers.",
        "port": "Port that it listens on; 0 is none.",
        "keys": "Half-open range of its app's 65536 keys, for the routing table.",
        "priority": "1 (highest) to 5.",
        "pinned": "Whether it is never moved.",
        "avoid": "Names of apps or shards that must not share its host.",
    },
}
