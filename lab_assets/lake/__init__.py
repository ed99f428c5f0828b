"""Delta tables: one reader, one writer, integrity and maintenance.

Belongs here: how tables are opened, read, written and kept whole. Does not belong here: what rows mean, Spark.
"""
