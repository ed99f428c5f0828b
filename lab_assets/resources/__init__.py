"""Dagster resources: configuration that yields plain objects.

Belongs here: wiring. Does not belong here: logic.
"""
