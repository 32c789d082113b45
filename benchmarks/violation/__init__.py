"""Minutes in which hosts are above their limit on a replayed trace: with a forecast, without, and by present use."""
