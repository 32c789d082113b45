"""The router: sends requests by the routing table, and holds them while a shard moves (S1.22, S1.24)."""
