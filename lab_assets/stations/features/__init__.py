"""Stations of the feature tables."""
