"""Beckman Coulter: HIAC PharmSpec."""
