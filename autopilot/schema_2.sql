-- Schema 2: what a row of the log is about, and the audit log. Run after schema.sql by journal_schema.py.

-- What an event is about, for those that are about a plan; part of the event's hash.
CREATE TABLE event_about (
    seq INTEGER PRIMARY KEY REFERENCES event (seq),
    digest TEXT NOT NULL,
    action INTEGER NOT NULL,
    shard TEXT NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX event_about_shard ON event_about (shard);
CREATE INDEX event_by_plan ON event (plan);
CREATE TRIGGER event_about_is_never_changed BEFORE UPDATE ON event_about
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER event_about_is_never_removed BEFORE DELETE ON event_about
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- Who did what and why: line is the whole line of audit.log, written in the transaction of the act.
CREATE TABLE audit (
    n INTEGER PRIMARY KEY,
    line BLOB NOT NULL
);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- The end of the audit log, and how many of its entries are known to be in audit.log, synced.
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    n INTEGER NOT NULL,
    digest TEXT NOT NULL,
    filed INTEGER NOT NULL
);
INSERT INTO audit_head (id, n, digest, filed) VALUES (1, 0, '', 0);

-- Written to find out whether anything can be written, and after trouble whether enough can be.
CREATE TABLE pulse (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time REAL NOT NULL,
    filler BLOB NOT NULL
);
INSERT INTO pulse (id, time, filler) VALUES (1, 0, x'');
