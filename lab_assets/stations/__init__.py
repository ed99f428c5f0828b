"""One station a table: what it is made from, how, and what is news to it.

Belongs here: declarations and make functions, one folder a layer. Does not belong here: formulas (``lab_assets.domain``, ``lab_assets.features``), Dagster.
"""
