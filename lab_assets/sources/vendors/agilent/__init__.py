"""Agilent: ChemStation and OpenLab folders and containers, EZChrom, BioTek Gen5."""
