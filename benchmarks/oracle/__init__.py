"""What the oracle's benchmarks share: traces and their splits, simple rules, scores, and rolling origins."""
