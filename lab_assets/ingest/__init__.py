"""Ingestion: from finished files in the inbox to committed rows in bronze, each file exactly once.

Belongs here: looking, copying, reading in children, committing, quarantine, reconciling, scrubbing. Does not belong here: formats, schedules.
"""
