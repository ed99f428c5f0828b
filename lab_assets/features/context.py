"""Features derived when a row is put together: from the method and from several feature tables at once.

Belongs here: the one function that batch, stream and online call for them. Does not belong here: features one table knows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan

from lab_assets.features.definitions import METHOD_KINDS, method_kind
from lab_assets.features.extra import extra_values
from lab_assets.features.inputs import TODAY, ModelInputs


def context_features(
    values: Mapping[str, float | None], *, checkpoint_pct: float, method_id: str | None, inputs: ModelInputs = TODAY
) -> dict[str, float]:
    """Return the ``context`` features of one row.

    Args:
        values: Features of the row by name; ``pressure_mean_bar``, ``ih_pressure_mean_bar`` and ``lot_margin_*`` are used where present.
        checkpoint_pct: Share of the run seen.
        method_id: Test method; one that is not known sets no flag.
        inputs: Features that it asks for by a former computation are computed by that.

    Returns:
        Every feature of the table by name, ``nan`` where it is not known.
    """
    kind = method_kind(method_id)
    flags = {f"method_is_{known}": float(known == kind) for known in METHOD_KINDS.values()}
    shift = nan
    seen, usual = _value(values, "pressure_mean_bar"), _value(values, "ih_pressure_mean_bar")
    if usual > 0:
        shift = 100.0 * (seen / usual - 1.0)
    features = {
        "checkpoint_pct": float(checkpoint_pct),
        **flags,
        "lot_margin_same_method": _value(values, f"lot_margin_{kind}"),
        "pressure_shift_pct": shift if isfinite(shift) else nan,
    }
    former = inputs.former_context({**values, **features})
    features |= {name: value for name, value in former.items() if name in features}
    given = {**values, **features}
    later = inputs.former_context(given)  # those of files may rest on those of this module, never the other way round
    return features | extra_values("context", given) | {name: value for name, value in later.items() if name not in features}


def _value(values: Mapping[str, float | None], name: str) -> float:
    value = values.get(name)
    return float(value) if value is not None and isfinite(value) else nan
