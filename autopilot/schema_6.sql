-- Schema 6: limits of shards at their disks. Run after schema_5.sql by journal_schema.py.

-- Bytes a second that a shard was resized to, and what was declared then; NULL says nothing: what is declared counts.
ALTER TABLE shard_size ADD COLUMN read INTEGER;
ALTER TABLE shard_size ADD COLUMN write INTEGER;
ALTER TABLE shard_size ADD COLUMN declared_read INTEGER;
ALTER TABLE shard_size ADD COLUMN declared_write INTEGER;
