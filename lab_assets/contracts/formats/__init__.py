"""Contracts compiled: one table of types and one list of rules per column, in the form each engine takes.

Belongs here: names of types in Spark, Arrow, polars, DuckDB and pandas; rules as data and their form in pandera, polars and plain
Python. Does not belong here: what a table promises (the files beside this folder), reading tables, verdicts.
"""
