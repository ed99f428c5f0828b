"""The REST interface and the pages. No Spark, no Dagster.

Belongs here: routes, sessions, rendering. Does not belong here: policy rules, science.
"""
