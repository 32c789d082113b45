"""One instance for ReBalancer; replaced below."""
