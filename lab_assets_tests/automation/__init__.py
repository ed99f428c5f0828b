"""Tests of what wakes the graph."""
