"""Shards of loops as transactions: private copies, results compared with what was shipped, commit in order."""
