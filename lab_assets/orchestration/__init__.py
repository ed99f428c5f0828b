"""Dagster, thin: assets and checks, jobs, sensors, schedules, resources.

Belongs here: when the graph runs and what Dagster shows of it. Does not belong here: what a station does.
"""
