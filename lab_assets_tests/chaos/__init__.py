"""A nemesis: random histories of mishaps over the real processes of a laboratory, held against a quiet one.

Run as ``python -m lab_assets_tests.chaos --minutes 30 --seed 1``, or ``make chaos MINUTES=30``.
"""
