-- Schema 3: tokens that are promised side by side, and the way back. Run after schema_2.sql by journal_schema.py.

-- The highest token that was ever promised to a move, kept or not; the next one is above it and the generation.
CREATE TABLE promised (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    token INTEGER NOT NULL CHECK (token >= 0)
);
INSERT INTO promised (id, token) SELECT 1, max(
    (SELECT generation FROM placement), (SELECT coalesce(max(token), 0) FROM action)
);

-- What takes a move back, looked into and written down before its commit; problem is why it could not, or "".
CREATE TABLE way_back (
    digest TEXT NOT NULL,
    action INTEGER NOT NULL,
    body BLOB NOT NULL,
    checked REAL NOT NULL,
    problem TEXT NOT NULL,
    PRIMARY KEY (digest, action),
    FOREIGN KEY (digest, action) REFERENCES action (digest, id)
);

-- The plans that undo another one, by their own digests.
CREATE TABLE reversal (
    digest TEXT PRIMARY KEY REFERENCES plan (digest),
    undoes TEXT NOT NULL REFERENCES plan (digest)
);
