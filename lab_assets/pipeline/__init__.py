"""Table-to-table transformations on Spark: between pure science and thin assets.

Belongs here: joins, windows, which rows are touched, which functions of the pure rooms run over them.
Does not belong here: formulas (``domain``, ``features``, ``modeling``), Dagster (``assets``), how tables are kept (``engine``).
"""
