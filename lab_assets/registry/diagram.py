"""The reliability diagram as a picture.

Belongs here: drawing. Does not belong here: the bins (``lab_assets.modeling.evaluation``).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from lab_assets.modeling.evaluation import ReliabilityBin


def reliability_png(bins: Sequence[ReliabilityBin], *, title: str) -> bytes:
    """Return a PNG of observed share against mean risk, with the number of rows beside each bin."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    axes.plot([each.risk_mean for each in bins], [each.observed for each in bins], marker="o")
    for each in bins:
        axes.annotate(f"n={each.rows}", (each.risk_mean, each.observed), xytext=(4, -10), textcoords="offset points", fontsize=7)
    axes.set(xlabel="mean predicted risk", ylabel="share out of specification", xlim=(0, 1), ylim=(0, 1), title=title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
