"""What runs on hosts for pools: brought there as files, and needs nothing but Python 3.7."""
