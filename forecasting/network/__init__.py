"""The pre-trained quantile network: what it remembers of a series, what it sees, and what it says."""
