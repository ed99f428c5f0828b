"""Features of one file each: what it is and how it is computed, side by side.

Belongs here: a module a feature, with the constant ``FEATURE`` and the function ``value``; nothing lists them. Does not belong here:
reading tables, anything that more than one feature needs.

What ``value`` is given depends on the table that ``FEATURE`` names, and what it returns is a number, ``nan`` where nothing can be said:

- ``injection_progress``: ``value(seen: SeenRun)``, a run up to a checkpoint (``lab_assets.features.progress``);
- ``instrument_history``: ``value(state: InstrumentRuns)``, the runs of an instrument up to one (``lab_assets.features.instrument_runs``);
- ``lot_history``: ``value(known: Sequence[KnownValue])``, the values known of a lot (``lab_assets.features.history_of_lots``);
- ``context``: ``value(row: Mapping[str, float | None])``, all other features of the row;
- ``storage_exposure``, former computations alone: ``value(stored: Mapping[str, Any])``, a sample's record with the sums over its days in
  the chamber and today's features (``lab_assets.features.exposure``).

The rest follows: the column of the table, the model's input, its bounds at the service, words in explanations, drift. A new file, and a
raised ``version`` in one, make another feature set: rows of the earlier one stay, and the model in service keeps its own. Where ``version``
was raised the file as it was goes to the folder ``former``: its values are kept in a column of their own beside today's, from which the
model in service is given its input (``lab_assets.features.inputs``).

These modules are imported before those that use them: they import ``lab_assets.features.feature`` and pure libraries, anything else of
``lab_assets.features`` for types only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final

from lab_assets.features.feature import Feature

TABLES: Final = ("injection_progress", "instrument_history", "lot_history", "context")
_FORMER: Final = f"{__name__}.former"


class ExtraFeatureError(TypeError):
    """A module of this folder is not a feature."""


@dataclass(frozen=True, kw_only=True)
class ExtraFeature:
    """A feature and the function that computes it."""

    feature: Feature
    value: Callable[[Any], float]


@cache
def extras() -> tuple[ExtraFeature, ...]:
    """Return the features of this folder, by the names of their modules.

    Raises:
        ExtraFeatureError: a module lacks ``FEATURE`` or ``value``, names a table without extra features or a feature unlike itself, or
            has bounds without their reason.
    """
    found = tuple(_extra(name, TABLES) for name in _modules(__path__, __name__))
    for name, extra in zip(_modules(__path__, __name__), found, strict=True):
        _refuse_misnamed(name, extra.feature)
    return found


@cache
def formers() -> tuple[ExtraFeature, ...]:
    """Return the former computations of features, by the names of their modules.

    Raises:
        ExtraFeatureError: as ``extras``; or two are of the same version of a feature.
    """
    found = tuple(_extra(name, (*TABLES, "storage_exposure")) for name in _modules(import_module(_FORMER).__path__, _FORMER))
    columns = [former.feature.former_column for former in found]
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise ExtraFeatureError(f"{_FORMER} has two files of the same version of a feature: {', '.join(twice)}")
    return found


def _modules(path: Iterable[str], package: str) -> list[str]:
    """Return the full names of the modules of a folder; folders in it are none."""
    return sorted(found.name for found in iter_modules(path, f"{package}.") if not found.ispkg)


def _extra(name: str, tables: Collection[str]) -> ExtraFeature:
    module = import_module(name)
    feature: object = getattr(module, "FEATURE", None)
    value: Callable[[Any], float] | None = getattr(module, "value", None)
    if not isinstance(feature, Feature) or not callable(value):
        raise ExtraFeatureError(f"{name} needs the constant FEATURE, a Feature, and the function value")
    if feature.table not in tables:
        raise ExtraFeatureError(f"{name}: table {feature.table!r} has no extra features; choose one of {', '.join(tables)}")
    return ExtraFeature(feature=feature, value=value)


def _refuse_misnamed(name: str, feature: Feature) -> None:
    """Refuse a feature whose name is not that of its file, which is a column's, or whose bounds have no reason."""
    file = name.rpartition(".")[2]
    if feature.name != file or feature.name != feature.name.lower():
        raise ExtraFeatureError(f"{name}: its feature is called {feature.name!r}; file and feature have one name, in small letters")
    if (feature.minimum is not None or feature.maximum is not None) and not feature.bound_reason:
        raise ExtraFeatureError(f"{name}: minimum and maximum need bound_reason, why the quantity cannot lie outside")


def extra_features() -> tuple[Feature, ...]:
    """Return what is said of each feature of this folder."""
    return tuple(extra.feature for extra in extras())


def former_features() -> tuple[Feature, ...]:
    """Return what is said of each former computation."""
    return tuple(former.feature for former in formers())


def extra_values(table: str, given: Any) -> dict[str, float]:
    """Return the values of a table's extra features by name.

    Args:
        table: Feature table.
        given: What the table's features are computed from, see above.
    """
    return {extra.feature.name: _number(extra, given) for extra in extras() if extra.feature.table == table}


def former_values(table: str, given: Any, *, only: Collection[str] | None = None) -> dict[str, float]:
    """Return the values of a table's former computations by their columns.

    Args:
        table: Feature table.
        given: As for ``extra_values``.
        only: Names of the features asked for; ``None`` for all.
    """
    asked = [former for former in formers() if former.feature.table == table and (only is None or former.feature.name in only)]
    return {former.feature.former_column: _number(former, given) for former in asked}


def _number(extra: ExtraFeature, given: Any) -> float:
    found = extra.value(given)
    try:
        return float(found)
    except TypeError:
        who, kind = extra.value.__module__, type(found).__name__
        raise ExtraFeatureError(f"value of {who} returns {kind}; it is a number, nan where nothing can be said") from None
