"""Policy, masking, signatures, the hash-chained audit trail, lineage.

Belongs here: who may see and do what, and the proof of it. Does not belong here: web routes, Spark.
"""
