"""Delimited tables and workbooks: LIMS exports, certificates, methods, chambers, described loggers."""
