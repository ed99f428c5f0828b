"""One definition per feature, and the point-in-time join. Pure; used by training, batch, streaming and online scoring.

Belongs here: feature functions with metadata. Does not belong here: reading tables, models.

Flow: ``reference`` builds what is expected of a run, ``progress`` looks at its partial trace; ``history_of_instruments``,
``history_of_lots`` and ``exposure`` describe instrument, lot and storage; ``extra`` holds features of one file each; ``join`` (many rows) or
``vector.assemble_online`` (one request) put them together, ``vector`` orders them for the model.
"""
