"""Models in MLflow: log, register, mirror aliases, load by digest.

Belongs here: the only code that speaks to MLflow. Does not belong here: training.
"""
