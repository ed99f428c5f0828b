"""Split, train, calibrate, evaluate, gate, explain, drift. Pure (numpy, LightGBM, scikit-learn).

Belongs here: what happens to matrices. Does not belong here: MLflow, tables, clocks.
"""
