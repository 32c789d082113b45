"""Hands on the hosts: SSH transport, sampler, and what runs shards (floor 3).

Bytes from hosts are data: they are decoded, checked and scrubbed here, once, and never
unpickled or evaluated.
"""
