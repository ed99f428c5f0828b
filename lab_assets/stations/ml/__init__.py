"""Stations of the ml layer: labels, training sets, predictions, drift."""
