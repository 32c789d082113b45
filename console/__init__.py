"""Front ends: the Textual application and the command line (floor 5).

They know the daemon by ``sidestep.autopilot.protocol`` and the domain's values; they know
no SSH and no sktime, and paint before numpy is loaded.
"""
