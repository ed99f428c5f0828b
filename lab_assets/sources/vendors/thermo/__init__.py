"""Thermo Fisher: Chromeleon exports, VISIONlite."""
