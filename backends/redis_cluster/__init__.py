"""Data shards of Redis and Valkey Cluster: hash slots and ranges of them, seen, measured and moved while they serve.

The cluster itself is the truth about who has which slot. What is here looks at all nodes at once, decides by pure
functions, and moves by the cluster's own protocol, so that any client that follows redirections sees no error.
"""
