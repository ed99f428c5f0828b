"""Backups made while a laboratory works, put back in other places; lost tables made anew from the originals."""
