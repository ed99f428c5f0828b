"""Stations of the silver layer: units, vocabulary and context."""
