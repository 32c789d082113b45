"""Taking over units that run on a host already (``sidestep adopt``); works without a daemon."""
