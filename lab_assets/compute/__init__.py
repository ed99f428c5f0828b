"""The one border between this process and Spark: its server, its sessions, its JARs.

Belongs here: how work reaches Spark's workers. Does not belong here: what the work is.
"""
