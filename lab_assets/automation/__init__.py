"""Sensors, schedules, jobs.

Belongs here: when the graph runs. Does not belong here: what it does.
"""
