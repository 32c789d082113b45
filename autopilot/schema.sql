-- The journal of one fleet. One process writes it (WAL, synchronous=FULL); times are unix seconds.
-- Application id and version are set by journal_store.py in the transaction that runs this file.

-- Who owns what. Every change raises the generation; a token is the generation that gave it.
CREATE TABLE placement (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL CHECK (generation >= 0)
);
INSERT INTO placement (id, generation) VALUES (1, 0);

CREATE TABLE owner (
    shard TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    token INTEGER NOT NULL
);

-- Where the owner of a shard listens; changed with the owner, in the commit.
CREATE TABLE endpoint (
    shard TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535)
);

-- body is the canonical JSON that the digest is of; the other columns change while the plan lives.
CREATE TABLE plan (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
    number INTEGER NOT NULL UNIQUE,
    author TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,
    approved_by TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    updated REAL NOT NULL,
    outcome BLOB NOT NULL DEFAULT x'90'
);
CREATE INDEX plan_by_state ON plan (state, author);

-- token is what the destination will own; it is promised when the action begins.
CREATE TABLE action (
    digest TEXT NOT NULL REFERENCES plan (digest),
    id INTEGER NOT NULL,
    shard TEXT NOT NULL,
    state TEXT NOT NULL,
    token INTEGER NOT NULL DEFAULT 0,
    freeze_ms REAL NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (digest, id)
);

-- A row is durable before its step acts. An action whose commit step is DONE is committed.
CREATE TABLE step (
    digest TEXT NOT NULL,
    action INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    begun REAL NOT NULL,
    ms REAL NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (digest, action, name),
    FOREIGN KEY (digest, action) REFERENCES action (digest, id)
);

-- The audit log: hash is SHA-256 of the previous row's hash and this row's canonical JSON.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    actor TEXT NOT NULL,
    plan INTEGER NOT NULL,
    hash TEXT NOT NULL
);
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER event_is_never_removed BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- The end of the chain, so that rows cut off at the end are missed too.
CREATE TABLE chain (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO chain (id, seq, hash) VALUES (1, 0, '');
