"""One definition per feature, and the point-in-time join. Pure; used by training, batch, streaming and online scoring.

Belongs here: feature functions with metadata. Does not belong here: reading tables, models.
"""
