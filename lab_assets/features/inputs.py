"""What a model is given out of the feature tables: each of its inputs by the computation that its feature set states.

Belongs here: finding, for a feature set, today's or a former computation of each feature, and the column that keeps its values. Does not
belong here: the features (``definitions.py``, ``extra``), putting rows together (``join.py``, ``vector.py``), models.

Features are changed, added and taken away while a model serves that was made before. What it is given keeps the names that it knows; a name
whose computation is another one today is read from the column of its former computation (``largest_point_v1``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Final

from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION, FEATURES, FORMER_FEATURES, names_of, stated_version
from lab_assets.features.extra import former_values
from lab_assets.features.feature import Feature

STORED_TABLES: Final = ("injection_progress", "instrument_history", "lot_history", "storage_exposure")


@dataclass(frozen=True, kw_only=True)
class ModelInputs:
    """Where a model's inputs are read from.

    Attributes:
        names: The inputs, in the model's order.
        feature_set_version: Set of the rows that they are read from.
        former: Inputs that today are computed otherwise or not at all, with the computation that the model knows.
        columns: Columns of those rows that inputs are read from, where these are not named like the input.
    """

    names: tuple[str, ...] = FEATURE_NAMES
    feature_set_version: str = FEATURE_SET_VERSION
    former: Mapping[str, Feature] = field(default_factory=dict[str, Feature])
    columns: Mapping[str, str] = field(default_factory=dict[str, str])

    def stored(self, table: str) -> Mapping[str, str]:
        """Return the columns of a feature table that are read, by the names their values have in a row of the model."""
        return self._stored[table]

    @cached_property
    def _stored(self) -> dict[str, dict[str, str]]:
        found = {table: {name: self.columns.get(name, name) for name in names_of(table)} for table in STORED_TABLES}
        for name, column in self.columns.items():
            if self.former[name].table in found:
                found[self.former[name].table][name] = column
        return found

    def as_row(self, computed: Mapping[str, float]) -> dict[str, float]:
        """Return features computed just now, former computations by column, under the columns that the rows of this set have them in."""
        former = {self.columns.get(name, name): feature.former_column for name, feature in self.former.items()}
        return {**computed, **{name: computed[column] for name, column in former.items() if column in computed}}

    def former_context(self, row: Mapping[str, float | None]) -> dict[str, float]:
        """Return the inputs of ``context`` that today are computed otherwise.

        Args:
            row: All other features of the model's row.
        """
        names = {feature.former_column: name for name, feature in self.former.items() if feature.table == "context"}
        values = former_values("context", row, only=names.values()) if names else {}
        return {names[column]: value for column, value in values.items() if column in names}

    def of_posted(self, features: Mapping[str, float]) -> dict[str, float]:
        """Return the inputs among values that somebody brings: today's features by name, former computations by column."""
        places = {name: self.former[name].former_column if name in self.former else name for name in self.names}
        return {name: features[place] for name, place in places.items() if place in features}

    def of_rows(self, version: str, held: Collection[str]) -> ModelInputs:
        """Return the same inputs read from rows of another set.

        Args:
            version: The set.
            held: Columns that the tables had while it was that of the program: what was a former computation then had its own.
        """
        return replace(self, feature_set_version=version, columns={name: column for name, column in self.columns.items() if column in held})


TODAY: Final = ModelInputs()
"""Every feature of today, from today's rows."""


def resolve(version: str, names: Sequence[str]) -> ModelInputs | None:
    """Return where this program's rows hold the features of a set; ``None`` where it does not compute one of them as the set states.

    Args:
        version: Version of the set.
        names: Its features, in its order.
    """
    return None if _stated(version, tuple(names)) is None or _missing(version, names) else _with_former(version, names)


def inputs_of(version: str, names: Sequence[str]) -> ModelInputs | None:
    """Return what ``resolve`` finds, else rows of the set itself, of which no new ones are made.

    ``None`` where these are not all that is needed: a feature worked out when rows are put together is computed otherwise today, or what
    the set states is not known.
    """
    if _stated(version, tuple(names)) is None or any(_table(name) in {None, "context"} for name, _ in _missing(version, names)):
        return None
    found = _with_former(version, names)
    return found.of_rows(version, held=()) if _missing(version, names) else found


def described(version: str, names: Sequence[str]) -> dict[str, Feature]:
    """Return what is said of a set's features by name: of the computation it states, of today's where that is not known, or nothing."""
    today = {feature.name: feature for feature in FEATURES}
    both = today | {one[0]: feature for one in _stated(version, tuple(names)) or () if (feature := _kept().get(one)) is not None}
    return {name: both[name] for name in names if name in both}


def not_computed(version: str, names: Sequence[str]) -> str:
    """Return what is said, and what can be done, where ``resolve`` finds nothing."""
    files = ", ".join(f"{name}_v{number}.py" for name, number in _missing(version, names))
    wanted = files or "the former file of each feature that was changed or taken away"
    return (
        f"feature set {version}, which this program (set {FEATURE_SET_VERSION}) does not compute: put {wanted} into "
        "lab_assets/features/extra/former, or promote a model made with today's features"
    )


def _with_former(version: str, names: Sequence[str]) -> ModelInputs:
    """Return a set's inputs, each that is computed otherwise today by its former computation, where that is kept."""
    stated = _stated(version, tuple(names)) or ()
    former = {name: made for name, number in stated if (made := FORMER_FEATURES.get(f"{name}_v{number}")) is not None}
    return ModelInputs(names=tuple(names), former=former, columns={name: made.former_column for name, made in former.items()})


def _kept() -> dict[tuple[str, int], Feature]:
    """Return every computation that this program has, by name and version."""
    return {(feature.name, feature.version): feature for feature in (*FEATURES, *FORMER_FEATURES.values())}


def _missing(version: str, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Return name and version of the computations that a set states and this program does not have."""
    return _missing_of(version, tuple(names))


@lru_cache(maxsize=64)
def _missing_of(version: str, names: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    kept = _kept()
    return tuple(one for one in _stated(version, names) or () if one not in kept)


def _table(name: str) -> str | None:
    return next((feature.table for feature in (*FEATURES, *FORMER_FEATURES.values()) if feature.name == name), None)


@lru_cache(maxsize=64)
def _stated(version: str, names: tuple[str, ...]) -> tuple[tuple[str, int], ...] | None:
    """Return name and version of each feature of a set: today's where these make its version, else the only choice that does.

    A part of today's features may be stated as of today's set. A version is raised by one, so those up to today's, or to a former one that is kept, are tried. Sets whose features are all kept go
    first: what is kept is likelier than what is not.
    """
    kept: dict[str, list[int]] = {name: [] for name in names}
    for name, number in _kept():
        kept.get(name, []).append(number)
    once = {name: [*numbers, *(n for n in range(1, max(numbers, default=1) + 1) if n not in numbers)] for name, numbers in kept.items()}
    newest = tuple((name, numbers[0]) for name, numbers in once.items())
    if stated_version(newest) == version or (version == FEATURE_SET_VERSION and set(names) <= set(FEATURE_NAMES)):
        return newest
    for choices in (kept, once):
        found = [
            chosen for chosen in product(*(choices[name] for name in names)) if stated_version(zip(names, chosen, strict=True)) == version
        ]
        if found:
            return tuple(zip(names, found[0], strict=True)) if len(found) == 1 else None
    return None


def forget() -> None:
    """Forget what was found of sets: for tests that change what features there are."""
    _stated.cache_clear()
    _missing_of.cache_clear()
