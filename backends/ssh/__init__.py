"""SSH: the transport contract, its asyncssh implementation, and host-key decisions."""
