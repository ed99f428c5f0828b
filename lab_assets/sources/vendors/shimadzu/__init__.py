"""Shimadzu: LabSolutions text exports."""
