"""Formats of no single maker: Allotrope, AnIML, ANDI/netCDF, GAML, ELN archives."""
