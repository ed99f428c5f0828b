"""Backups of a laboratory: making, verifying, putting back.

Belongs here: what a backup holds, the folder it lies in, and bringing it to life in another place. Does not belong here: arguments and
printing (``lab_assets.cli``), making tables anew from the originals (``lab_assets.ops.lake_from_raw``).
"""
