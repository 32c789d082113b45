-- Schema 5: what plugins have done to shards. Run after schema_4.sql by journal_schema.py.

-- Actions of plugins that are in force, each as it was approved (JSON): on that shard, under that token. A row of
-- another token than the owner's says nothing any more, and goes when the shard is started anew.
CREATE TABLE standing (
    shard TEXT NOT NULL,
    name TEXT NOT NULL,
    token INTEGER NOT NULL,
    since REAL NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (shard, name)
);
