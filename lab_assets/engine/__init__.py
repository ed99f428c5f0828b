"""Spark Connect, Delta tables, the ingestion ledger, the raw store.

Belongs here: how bytes and rows are kept. Does not belong here: what they mean.
"""
