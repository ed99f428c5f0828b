"""How one file format is read: bytes to records and rejects. Pure, one file per format, and the choice among all (``all_readers.py``).

Belongs here: parsing by name with clear errors. Does not belong here: folders, ledgers, Spark, unit conversion.
"""
