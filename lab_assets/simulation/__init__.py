"""The demonstration laboratory: physics in, files in the vendors' formats out.

Belongs here: the simulated world (lots, chambers, instruments, analysts), the traces they give, and the writers of
their files. Does not belong here: reading those files, the pipeline's own integration or calculation, any model.
The truth that the simulator keeps is written beside the inbox and never read by the pipeline.
"""
