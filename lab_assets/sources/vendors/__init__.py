"""Formats of instrument makers, one folder a maker."""
