"""What each table promises: columns, meaning, unit, key, range, vocabulary, sensitivity, owner. Pure.

Belongs here: data about tables. Does not belong here: reading or writing them.
"""
