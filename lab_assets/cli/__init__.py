"""The ``lab`` command, one file per noun.

Belongs here: arguments, printing, exit codes. Does not belong here: anything a page or an asset would need as well.
"""
