"""Where to cut a loop: contiguous parts, each for one host, by what iterations cost and hosts have free."""
