"""The asset graph, thin: read, call, write, report. One file per station, in flow order.

Belongs here: which table follows from which. Does not belong here: formulas, SQL longer than a screen.
"""
