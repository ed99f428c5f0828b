"""Asset checks: contracts, reconciliation, model gate, drift, audit chain.

Belongs here: verdicts on tables. Does not belong here: mending them.
"""
