"""The daemon: control loop, approval, executor, journal, API socket (floor 4).

It owns every side effect: only here is a plan run. ``protocol`` and ``client`` are what
a front end may import; they know neither numpy nor asyncssh.
"""
