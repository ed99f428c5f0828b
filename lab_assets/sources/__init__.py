"""How one file format is read: bytes to records and rejects. Pure, one file per format and a registry.

Belongs here: parsing by name with clear errors. Does not belong here: folders, ledgers, Spark, unit conversion.
"""
