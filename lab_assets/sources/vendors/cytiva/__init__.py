"""Cytiva: UNICORN result containers."""
