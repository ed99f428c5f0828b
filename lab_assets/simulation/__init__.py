"""The demonstration laboratory: physics to files in the vendors' formats.

Belongs here: truth and its noise. Does not belong here: anything the pipeline reads besides the files.
"""
