"""Makes what the oracle ships with: the weights of its network."""
