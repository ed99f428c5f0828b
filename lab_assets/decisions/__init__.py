"""From risk to review path, checks and advice. Pure.

Belongs here: rules a QC lead can read. Does not belong here: models, storage.
"""
