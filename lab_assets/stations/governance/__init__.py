"""Stations of the governance layer: lineage, and copies of audit trail and access."""
