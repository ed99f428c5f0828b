"""Operating the product: starting, watching and ending its processes, running a job now, checking the machine.

Belongs here: what an administrator does to a running laboratory, shared by commands and the demonstration. Does not belong
here: printing and arguments (``lab_assets.cli``), what the processes themselves do (``service``, ``compute``, ``orchestration``).
"""
