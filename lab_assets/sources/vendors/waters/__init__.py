"""Waters: Empower exports, MassLynx folders."""
