"""Keeping the laboratory's processes alive: who watches, how it is seen that one hangs, when it is started again.

Belongs here: the watchers and what they leave in ``run/`` for others. Does not belong here: which processes there are
(``components.py``), what ``lab up`` and ``lab down`` do (``processes.py``). ADR 19 says why this is ours. Written for one machine.
"""
