"""What a third party implements: the public plugin surface (floor 3)."""
