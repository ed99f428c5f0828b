"""Keeping a home from growing without end: what ended processes left, logs, databases, and how long the disk lasts.

Belongs here: files beside the tables. Does not belong here: tables (``lab_assets.lake.maintenance``), Dagster's own history
(``lab_assets.orchestration``), when it is done. Records, originals and answers that are not in a table yet are never removed.
"""
