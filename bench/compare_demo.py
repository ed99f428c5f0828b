"""Two demonstration laboratories of one seed, table by table: which rows differ, in which columns, and for which reason.

Belongs here: comparing, and the reasons why a release gives other rows than the one before. Does not belong here: making demonstrations.
Run as ``.venv/bin/python bench/compare_demo.py OLD_HOME NEW_HOME``; exit code 1 when something differs that no reason explains.

Both are made by ``lab demo`` with the same seed and lots. Times of the work itself, versions and identities that hold such times are not
compared; numbers are equal when they agree within 1e-9 of their size.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import TableContract

CLOSE: Final = 1e-9
OF_THE_WORK: Final = frozenset(
    {
        "ingested_at_utc",
        "ingest_batch",
        "modified_at_utc",
        "arrived_at_utc",
        "committed_at_utc",
        "table_versions",
        "run_id",
        "model_digest",
        "training_set_id",
        "frozen_at_utc",
        "predicted_at_utc",
        "decided_at_utc",
        "checked_at_utc",
        "prediction_id",
        "decision_id",
        "check_id",
        "batch",
        "arrival_id",
        "path_revision",
        "revises_revision",
        "requested_by",
    }
)
"""Columns that hold when, by what run and as which number something was done."""

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "ml.training_sets": ("injection_id", "checkpoint_pct"),
    "ml.predictions": ("injection_id", "checkpoint_pct"),
    "ml.decisions": ("injection_id", "lot_id", "path"),
    "ml.drift": ("subject",),
    "bronze.files": ("source", "file_name"),
    "bronze.calibrations": ("source_file", "source_row"),
    "bronze.processing_methods": ("source_file", "source_row"),
}
"""What names a row where the contract's key is of the work itself."""

NOT_COMPARED: Final[dict[str, str]] = {
    "governance.lineage": "one row an input and version, now also one an output column; taken from the commits, so no version lacks its own",
    "governance.audit": "entries of the demonstration's own actions",
    "governance.access": "accounts and grants at the time of the copy",
    "governance.integrity": "findings of scrubs",
    "ml.explanations": "of predictions by another training; held against their prediction by tests",
    "ml.evaluations": "measures of another training",
    "ml.alerts": "of the drift checks",
    "ml.online_log": "what was asked of the service",
}
"""Tables whose rows follow from the work or from another table's rows, and why."""


@dataclass(frozen=True)
class Reason:
    """Why columns of a table differ.

    Attributes:
        columns: Columns, or their beginnings with ``*``; empty: rows that only one laboratory has.
        words: Why.
    """

    columns: tuple[str, ...]
    words: str


FOLLOWS: Final = "follows from features that differ: the model is trained on them"
RECORDED: Final = (
    "certificates and processing methods of the simulator now state when they were recorded, so these six files have other bytes"
)
REASONS: Final[dict[str, tuple[Reason, ...]]] = {
    "bronze.files": (Reason(("file_id", "bytes"), RECORDED),),
    "bronze.calibrations": (Reason(("source_sha256",), RECORDED),),
    "bronze.processing_methods": (Reason(("source_sha256",), RECORDED),),
    "features.instrument_history": (
        Reason(("ih_days_to_calibration_due",), "certificates of later calibrations were used for runs before them"),
        Reason(("ih_standard_rsd_pct", "ih_standard_drift_pct"), "last digits: responses of standards are summed in another order"),
    ),
    "features.injection_progress": (
        Reason(
            ("baseline_*", "void_height_pct", "retention_shift_pct", "early_impurity_pct", "main_*"),
            "runs whose sequence has no standards of its own take the instrument's last ones, as the service always did",
        ),
    ),
    "ml.training_sets": (Reason(("features",), "features that differ, see the feature tables"),),
    "ml.predictions": (Reason(("risk*", "raw_score", "features", "model_version"), FOLLOWS),),
    "ml.decisions": (Reason(("path", "checks", "reasons", ""), FOLLOWS),),
    "ml.drift": (Reason(("psi*", "ks*", "drifted", "recent*", "reference*"), FOLLOWS),),
}
"""Differences that are meant. What is not listed is a fault, of the code or of this list."""


@dataclass
class Difference:
    """How a table differs.

    Attributes:
        rows: Rows of the old and of the new laboratory.
        only: Rows that only one has.
        columns: Rows that differ, by column; and of them those that had no value before.
        added: Columns that only the new one has.
        lost: Columns that only the old one has.
    """

    rows: tuple[int, int]
    only: tuple[int, int] = (0, 0)
    columns: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    added: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])

    def unexplained(self, name: str) -> list[str]:
        """Return the columns whose difference has no reason, and ``rows`` for rows that only one laboratory has."""
        patterns = [column for reason in REASONS.get(name, ()) for column in reason.columns]
        found = [*self.columns, *self.lost]
        if any(self.only):
            found.append("")
        return [column or "rows" for column in found if not any(_matches(column, pattern) for pattern in patterns)]


def _matches(column: str, pattern: str) -> bool:
    return column.startswith(pattern[:-1]) and bool(column) if pattern.endswith("*") else column == pattern


def compare(table: TableContract, old: pl.DataFrame, new: pl.DataFrame) -> Difference:
    """Compare two states of a table.

    Args:
        table: Its contract; a row is named by ``KEYS``, else by the primary key, else by the whole row.
        old: Rows of the earlier release.
        new: Rows of this one.
    """
    found = Difference(rows=(old.height, new.height))
    found.added, found.lost = sorted(set(new.columns) - set(old.columns)), sorted(set(old.columns) - set(new.columns))
    both = [name for name in old.columns if name in new.columns]
    compared = [name for name in both if name not in OF_THE_WORK]
    key = [name for name in KEYS.get(table.full_name, table.primary_key) if name in both]
    if "is_current" in found.added:
        new = new.filter("is_current")
    old, new = (_plain(frame.select(sorted({*compared, *key}))) for frame in (old, new))
    if not key or old.select(key).is_duplicated().any() or new.select(key).is_duplicated().any():
        key = compared
    found.only = (
        old.join(new, on=key, how="anti", nulls_equal=True).height,
        new.join(old, on=key, how="anti", nulls_equal=True).height,
    )
    paired = old.join(new, on=key, how="inner", nulls_equal=True, suffix="|new")
    for name in compared:
        if name in key:
            continue
        differ = paired.filter(_differs(name, old.schema[name]))
        if differ.height:
            found.columns[name] = (differ.height, differ[name].null_count())
    return found


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return nested values as text, which can be compared and joined on; maps in the order of their keys."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns(pl.Series(name, map(_text, frame[name].to_list()), dtype=pl.String) for name in nested)


def _text(value: Any) -> str | None:
    if isinstance(value, dict):
        return repr(sorted(value.items()))
    entries = isinstance(value, list) and value and isinstance(value[0], dict) and value[0].keys() == {"key", "value"}
    return None if value is None else repr(sorted(value, key=lambda entry: entry["key"]) if entries else value)


def _differs(name: str, kind: pl.DataType) -> pl.Expr:
    before, after = pl.col(name), pl.col(f"{name}|new")
    if not kind.is_float():
        return before.ne_missing(after)
    far = (before - after).abs() > CLOSE * pl.max_horizontal(before.abs(), after.abs())
    return (before.is_null() != after.is_null()) | (before.is_nan() != after.is_nan()).fill_null(value=False) | far.fill_null(value=False)


def read(home: Path, table: TableContract) -> pl.DataFrame | None:
    """Return the rows of a table, ``None`` where the laboratory has no such table."""
    folder = home / "lake" / table.layer / table.name
    return pl.read_delta(str(folder)) if (folder / "_delta_log").is_dir() else None


def main(arguments: list[str]) -> int:
    """Print what differs, and return 1 when something does that no reason explains."""
    if len(arguments) != 2 or not all((Path(home) / "lake").is_dir() for home in arguments):
        sys.stderr.write("usage: compare_demo.py OLD_HOME NEW_HOME, two folders made by 'lab demo'\n")
        return 2
    old_home, new_home = map(Path, arguments)
    shown = Table("table", "rows old", "rows new", "differs", "reason", show_lines=True)
    faults: list[str] = []
    for name, table in contracts().items():
        old, new = read(old_home, table), read(new_home, table)
        if old is None or new is None:
            shown.add_row(name, *("-" if frame is None else str(frame.height) for frame in (old, new)), "only in one", "")
            faults += [f"{name}: gone"] if new is None and old is not None else []
            continue
        if name in NOT_COMPARED:
            shown.add_row(name, str(old.height), str(new.height), "not compared", NOT_COMPARED[name])
            continue
        found = compare(table, old, new)
        unexplained = found.unexplained(name)
        faults += [f"{name}: {column}" for column in unexplained]
        shown.add_row(name, str(old.height), str(new.height), _words(found), _reasons(name, found, unexplained))
    Console(width=160).print(shown)
    for fault in faults:
        sys.stderr.write(f"no reason: {fault}\n")
    return 1 if faults else 0


def _words(found: Difference) -> str:
    parts = [
        f"{column}: {count} row(s){f', {empty} of them empty before' if empty else ''}" for column, (count, empty) in found.columns.items()
    ]
    parts += [f"{count} row(s) only {which}" for count, which in zip(found.only, ("old", "new"), strict=True) if count]
    parts += [f"added: {', '.join(found.added)}"] if found.added else []
    return "\n".join(parts) or "equal"


def _reasons(name: str, found: Difference, unexplained: list[str]) -> str:
    differing = [*found.columns, *([""] if any(found.only) else [])]
    given = [
        reason.words
        for reason in REASONS.get(name, ())
        if any(_matches(column, pattern) for column in differing for pattern in reason.columns)
    ]
    return "\n".join([*given, *(f"NO REASON: {column}" for column in unexplained)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
