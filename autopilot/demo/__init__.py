"""The demonstration: a real fleet on this machine, its daemon, and the story of one plan.

``stage`` starts and stops the processes, ``watch`` reads the daemon's frames into what a
narrator needs, ``story`` decides and judges. ``python -m sidestep.autopilot.demo`` is what
``sidestep demo`` starts.
"""
