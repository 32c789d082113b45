"""What runs on the host of a router."""
