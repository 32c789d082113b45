"""The queue of shards that wait for a host, kept in the journal."""
