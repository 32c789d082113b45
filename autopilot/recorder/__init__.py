"""What consoles were shown, kept on the disk: pictures, forecasts, plans and the log, for ``sidestep replay``.

``rows`` makes small rows of pictures, ``segments`` is the write-ahead file, ``keeper`` what the daemon
runs, ``parquet`` the hours and exports, ``recording`` reads all of it, and ``player`` serves it again.
"""
