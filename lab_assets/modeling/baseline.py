# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""What the booster must beat: the base rate, and a logistic regression on the same rows.

Belongs here: the two reference models. Does not belong here: comparison (``evaluation.py``, ``gate.py``).
"""

from __future__ import annotations

import numpy as np

from lab_assets.modeling.arrays import BoolArray, FloatArray
from lab_assets.modeling.training import TrainingMatrix


def base_rate(matrix: TrainingMatrix, rows: BoolArray) -> float:
    """Return the share of failures among the marked rows, by Laplace's rule ``(k + 1)/(n + 2)``."""
    labels = matrix.labels[rows]
    return (float(labels.sum()) + 1.0) / (len(labels) + 2.0)


def baseline_risks(matrix: TrainingMatrix, rows: BoolArray, *, seed: int = 0) -> FloatArray:
    """Fit a logistic regression to the marked rows and return its probability for every row.

    Median imputation with missing indicators, standardisation, L2-penalised logistic regression (C = 1). The linear algebra
    runs on one thread: the matrices are small, threads waiting for each other took five times as long, and the result does
    not hang on the number of cores.

    Args:
        matrix: All rows.
        rows: ``(n,)`` booleans, the rows to fit.
        seed: Seed of the solver.

    Returns:
        ``(n,)`` probabilities of failure for all rows of the matrix, in order.

    Raises:
        ValueError: the marked rows hold one outcome only.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    labels = matrix.labels[rows]
    if len(np.unique(labels)) < 2:
        raise ValueError(f"{len(labels)} rows hold one outcome only; both are needed")
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=1.0, max_iter=1_000, random_state=seed),
    )
    with threadpool_limits(limits=1):
        pipeline.fit(matrix.features[rows], labels)
        return np.asarray(pipeline.predict_proba(matrix.features)[:, 1], dtype=np.float64)
