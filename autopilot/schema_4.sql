-- Schema 4: what keeps shards alive when hosts are lost. Run after schema_3.sql by journal_schema.py.

-- What an action does, so that its steps are known without reading its plan.
ALTER TABLE action ADD COLUMN kind TEXT NOT NULL DEFAULT 'migrate';

-- Leases of apps (sidestep.locks): those that are held, and the highest token, which rises with every grant of
-- any lock for ever. "claim" is a SHA-256: who can read this file cannot act for a holder.
CREATE TABLE lock (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL CHECK (token > 0),
    claim TEXT NOT NULL,
    holder TEXT NOT NULL,
    note TEXT NOT NULL,
    ttl REAL NOT NULL,
    granted REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE lock_token (highest INTEGER NOT NULL);
INSERT INTO lock_token VALUES (0);

-- Capsules that were taken for the day on which a host is lost, and where their copies are.
CREATE TABLE capsule (
    shard TEXT NOT NULL,
    seq INTEGER NOT NULL,
    token INTEGER NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    taken REAL NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0,
    -- the process that it was taken of, and seconds that this stood still for it
    life TEXT NOT NULL DEFAULT '',
    paused REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, seq)
);
CREATE TABLE capsule_copy (
    shard TEXT NOT NULL,
    seq INTEGER NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    checked REAL NOT NULL,
    PRIMARY KEY (shard, seq, host),
    FOREIGN KEY (shard, seq) REFERENCES capsule (shard, seq)
);

-- Hosts that were lost, what they held then, and until when nothing new is placed on them.
-- heard: when it was last heard of; shards: JSON, the time at which each came to that host, 0 for long ago.
CREATE TABLE host_loss (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    heard REAL NOT NULL,
    lost REAL NOT NULL,
    back REAL NOT NULL DEFAULT 0,
    quarantined REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL,
    shards TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX host_loss_by_host ON host_loss (host, lost);
-- Hosts that a person or a fencing command has declared to be off, until they are seen again.
CREATE TABLE host_off (
    host TEXT PRIMARY KEY,
    since REAL NOT NULL,
    said_by TEXT NOT NULL,
    how TEXT NOT NULL
);
-- Hosts that a person has closed to new shards, or has emptied; until = 0 is until somebody lifts it.
CREATE TABLE host_order (
    host TEXT PRIMARY KEY,
    wish TEXT NOT NULL CHECK (wish IN ('cordon', 'drain')),
    since REAL NOT NULL,
    until REAL NOT NULL DEFAULT 0,
    said_by TEXT NOT NULL,
    reason TEXT NOT NULL
);
-- Shards that hosts have acknowledged to hold under a lease, and the longest lease (s) that may still be on its way.
CREATE TABLE leased (
    host TEXT NOT NULL,
    shard TEXT NOT NULL,
    PRIMARY KEY (host, shard)
);
CREATE TABLE lease (seconds REAL NOT NULL);

-- Shards that were on several hosts when these were lost: started nowhere until a person clears them.
-- cleared: when somebody did; losses of before say nothing against the shard any more.
CREATE TABLE poisoned (
    shard TEXT PRIMARY KEY,
    since REAL NOT NULL,
    reason TEXT NOT NULL,
    cleared REAL NOT NULL DEFAULT 0
);

-- Keys of shards that splits and merges have changed since they were declared, and the spare of such an action.
CREATE TABLE shard_keys (
    shard TEXT PRIMARY KEY,
    lo INTEGER NOT NULL CHECK (lo >= 0),
    hi INTEGER NOT NULL CHECK (hi > lo AND hi <= 65536)
);
CREATE TABLE reshard (
    digest TEXT NOT NULL,
    action INTEGER NOT NULL,
    spare TEXT NOT NULL,
    PRIMARY KEY (digest, action)
);

-- Shards that wait for a host: never placed, or preempted; then with the host and the digest of their capsule, what
-- they needed, and the token below which their processes are fenced.
CREATE TABLE queued (
    shard TEXT PRIMARY KEY,
    since REAL NOT NULL,
    cause TEXT NOT NULL,
    deployment TEXT NOT NULL DEFAULT '',
    token INTEGER NOT NULL DEFAULT 0 CHECK (token >= 0),
    host TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT '',
    files TEXT NOT NULL DEFAULT '',
    bytes INTEGER NOT NULL DEFAULT 0,
    cpu REAL NOT NULL DEFAULT 0,
    memory INTEGER NOT NULL DEFAULT 0,
    reasons TEXT NOT NULL DEFAULT '[]',
    looked REAL NOT NULL DEFAULT 0
);
-- What was ever put into the queue to be placed: the same id again is the same deployment.
CREATE TABLE deployment (
    id TEXT PRIMARY KEY,
    shard TEXT NOT NULL,
    submitted REAL NOT NULL,
    actor TEXT NOT NULL
);

-- What shards were resized to, and what the fleet file declared then: when that changes, it counts instead.
CREATE TABLE shard_size (
    shard TEXT PRIMARY KEY,
    cpu REAL NOT NULL,
    memory INTEGER NOT NULL,
    declared_cpu REAL NOT NULL,
    declared_memory INTEGER NOT NULL
);

-- Pools of pre-initialised instances: every instance that may be somewhere, in a state of fleet/instances.py. A row is
-- written before its host is asked for anything, and goes when the instance is DEAD.
CREATE TABLE pool_instance (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pool TEXT NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    port INTEGER NOT NULL,
    app TEXT NOT NULL DEFAULT '',
    pid INTEGER NOT NULL DEFAULT 0,
    since REAL NOT NULL,
    -- when it was last seen to be ready, also by a fire drill
    checked REAL NOT NULL DEFAULT 0,
    UNIQUE (host, port)
);
-- Numbers daemons, so that hosts refuse orders of one that was replaced.
CREATE TABLE pool_epoch (value INTEGER NOT NULL);
INSERT INTO pool_epoch VALUES (0);
-- Fire drills of cold instances; ended = 0 while it runs.
CREATE TABLE pool_drill (
    id INTEGER PRIMARY KEY,
    pool TEXT NOT NULL,
    instance INTEGER NOT NULL,
    began REAL NOT NULL,
    ended REAL NOT NULL DEFAULT 0,
    ok INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT ''
);
-- Instances held for functions that are only expected; outcome: '' while open, 'hit' or 'miss'.
CREATE TABLE pool_guess (
    name TEXT NOT NULL,
    pool TEXT NOT NULL,
    count INTEGER NOT NULL,
    since REAL NOT NULL,
    expires REAL NOT NULL,
    chance REAL NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (name, since)
);
-- What instances have saved at their end, for the next of their app: a file on that host.
CREATE TABLE pool_handover (
    instance INTEGER PRIMARY KEY,
    pool TEXT NOT NULL,
    app TEXT NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL
);
