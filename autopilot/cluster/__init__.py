"""A Redis or Valkey Cluster from the command line: seen, moved, evened out and put right (docs/redis.md)."""
