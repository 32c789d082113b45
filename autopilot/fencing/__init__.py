"""Nobody owns a shard twice: leases that hosts keep by themselves, and the proof that an old owner is gone."""
