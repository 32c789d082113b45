"""Pre-initialised instances on hosts (S4): zygotes, frozen forks and processes that were started beforehand."""
