"""Alembic's environment and the revisions of the relational state, run by ``lab_assets.state.database.migrate``.

Belongs here: revisions. Does not belong here: the tables' definitions (``governance_tables.py``, ``ledger_tables.py``).
"""
