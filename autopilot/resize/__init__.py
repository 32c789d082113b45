"""Changing what shards may use, in place: the kind of action, what the journal keeps of it, and who is told."""
