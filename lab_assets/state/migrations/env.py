"""Alembic's environment: runs on the connection handed over by ``migrate``, inside its transaction.

Belongs here: nothing but that. Does not belong here: URLs or options (``database.py`` opens the engine).
"""

from __future__ import annotations

from alembic import context

from lab_assets.state.metadata import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=False)
context.run_migrations()
