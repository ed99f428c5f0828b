"""Laboratory science: chromatography, calibration, suitability, stability, control charts, OOS, excursions, cycle time. Pure.

Belongs here: formulas with their source. Does not belong here: tables, files, models.
"""
