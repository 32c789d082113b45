"""The routing engine: requests go to shards by an immutable table, with or without the daemon."""
