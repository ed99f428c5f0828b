"""Relational state: the database, the ingestion ledger, queues, the audit store and the migrations.

Belongs here: tables of the relational state and the transitions of their rows. Does not belong here: files, Delta tables, policy.
"""
