"""Stations of the gold layer: verdicts over lots and time."""
