"""Questions to the planner: what if, why, why not, which host next. Pure, like the planner itself.

Every answer comes from the arithmetic that plans are made with, on the same forecast; nothing
here has a model of its own.
"""
