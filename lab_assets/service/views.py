"""What one person may see of rows: masks applied to single records, and the first page's contents.

Belongs here: the same masks as the SQL gateway's, for records that do not come through SQL. Does not belong here: the rules,
rendering.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from lab_assets.contracts.all_contracts import contract
from lab_assets.features.definitions import FEATURES, FORMER_FEATURES
from lab_assets.governance.mask_methods import MaskKey
from lab_assets.governance.policy import PolicyStore
from lab_assets.service.masks import mask_value
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.records import Prediction, Record
from lab_assets.service.run_rows import KEPT_COLUMNS
from lab_assets.service.serving import ModelWatch, NoModelError
from lab_assets.service.store import ONLINE_LOG, PREDICTIONS, Models, find_records
from lab_assets.service.table_cache import Newest, TableCache, TableUnavailableError
from lab_assets.settings import Settings

QUEUE_ROWS: Final = 25
RECENT_ROWS: Final = 400
ENDED_ROWS: Final = 20_000
LOT_ROWS: Final = 60
EXCEPTION_ROWS: Final = 40
_PEOPLE: Final = ("trained_by", "submitted_by", "decided_by")
_LOT_ORDER: Final = {"fail": 0, "open": 1, "pass": 2}
_SEVERITY_ORDER: Final = {"critical": 0, "warning": 1, "info": 2}
DERIVED: Final[Mapping[str, frozenset[str]]] = {
    "lot_margin_same_method": frozenset({"lot_margin_assay", "lot_margin_rs", "lot_margin_diss"}),
    "pressure_shift_pct": frozenset({"pressure_mean_bar", "ih_pressure_mean_bar"}),
}
"""Features worked out of other features, and which: what hides one of those hides them."""
_FEATURE_TABLES: Final = sorted({feature.table for feature in FEATURES if feature.table != "context"})


class _Place(NamedTuple):
    """What places a prediction in the queue; the fields are columns of ``ml.predictions``."""

    injection_id: str | None
    prediction_id: str
    predicted_at_utc: datetime
    checkpoint_pct: int | None
    risk: float
    lot_id: str | None
    mode: str

    def age(self) -> tuple[datetime, int]:
        """Return what a later prediction of the same run has more of; one batch scores every checkpoint at the same time."""
        return self.predicted_at_utc, self.checkpoint_pct or 0


def is_running(prediction: _Place | Prediction, names: Mapping[str, str]) -> bool:
    """Return whether a prediction is of a run whose files are not in the tables yet."""
    return prediction.mode == "online" and prediction.injection_id is not None and prediction.injection_id not in names


@dataclass(frozen=True, kw_only=True)
class FirstPage:
    """What the first page shows; a part is ``None`` where the person may not read its table.

    Attributes:
        queue: Newest risk of each run, newest first.
        lots: Lots, failing first.
        lot_counts: Number of lots in each state.
        exceptions: What needs a person, gravest first.
        model: Name, version and digest of the model that serves.
        problems: What people must know before they trust the page.
    """

    queue: Sequence[Mapping[str, Any]] | None
    lots: Sequence[Mapping[str, Any]] | None
    lot_counts: Mapping[str, int]
    exceptions: Sequence[Mapping[str, Any]] | None
    model: Mapping[str, str] | None
    problems: Sequence[str]


class Views:
    """Rows as one person may see them."""

    def __init__(
        self, settings: Settings, *, policy: PolicyStore, tables: TableCache, log: PredictionLog, watch: ModelWatch, models: Models
    ) -> None:
        self._policy = policy
        self._tables = tables
        self._log = log
        self._watch = watch
        self._models = models
        self._settings = settings
        self._key = MaskKey.of(settings)
        self._read: dict[str, Record] = {}

    # --- masks

    def masked(self, table: str, row: Mapping[str, Any], *, user: str | None) -> dict[str, Any]:
        """Return a row of a table with the columns hidden that this person does not see in clear.

        ``None`` stands for the owner of the machine, who can read the files anyway: nothing is hidden.

        Raises:
            KeyError: no such table, or the row has a column that it lacks: of what is not known, nobody can say who may see it.
        """
        declared = contract(table)
        if unknown := sorted(row.keys() - set(declared.column_names)):
            raise KeyError(f"{table} has no column {', '.join(unknown)}: whose masks would apply?")
        if user is None:
            return dict(row)
        policy = self._policy.current()
        hidden = policy.masked_columns(user, table)
        shown = dict(row)
        for name in hidden.keys() & row.keys():
            kind, tag = declared.column(name).kind, hidden[name]
            shown[name] = mask_value(row[name], kind=kind, tag=tag, method=policy.mask_method(tag), key=self._key)
        return shown

    def hidden_features(self, user: str | None) -> frozenset[str]:
        """Return the features whose columns this person does not see in clear; explanations hide them too."""
        if user is None:
            return frozenset()
        policy = self._policy.current()
        columns = {name for table in _FEATURE_TABLES for name in policy.masked_columns(user, f"features.{table}")}
        stored = {FORMER_FEATURES[name].name if name in FORMER_FEATURES else name for name in columns}
        return frozenset(stored | {name for name, sources in DERIVED.items() if stored & sources})

    def prediction(self, prediction: Prediction, *, user: str | None) -> dict[str, Any]:
        """Return a prediction as this person may see it; hidden features have no value."""
        row = self.masked("ml.predictions", asdict(prediction), user=user)
        if isinstance(row["features"], dict):
            hidden = self.hidden_features(user)
            row["features"] = {name: None if name in hidden else value for name, value in row["features"].items()}
        return row

    def drivers(self, record: Record, *, user: str | None) -> tuple[list[dict[str, Any]], str]:
        """Return what moved a risk most, strongest first, and when that was computed; values and words of hidden features are left out.

        Raises:
            NotFoundError: nothing was stored with the prediction, and its exact model cannot be had any more.
        """
        hidden = self.hidden_features(user)
        drivers, computed = self._models.drivers(record)
        left_out = {"value": None, "contribution": None, "words": "a feature you may not see"}
        return [{**driver, **left_out} if driver["feature"] in hidden else dict(driver) for driver in drivers], computed

    def decision(self, row: Mapping[str, Any], *, user: str | None) -> dict[str, Any]:
        """Return a decision as this person may see it; reasons that name a hidden feature are left out."""
        shown = self.masked("ml.decisions", row, user=user)
        hidden = self.hidden_features(user)
        if hidden and isinstance(shown.get("reasons"), list | tuple):
            words = {feature.meaning for feature in (*FEATURES, *FORMER_FEATURES.values()) if feature.name in hidden} | hidden
            shown["reasons"] = [reason for reason in shown["reasons"] if not any(word in reason for word in words)]
        return shown

    def ledger_row(self, row: Mapping[str, Any], *, user: str) -> dict[str, Any]:
        """Return a row of the approvals ledger; people's names follow the tag ``personal_name``."""
        policy = self._policy.current()
        if "personal_name" in policy.clearances(user):
            return dict(row)
        method = policy.mask_method("personal_name")
        return {
            name: mask_value(value, kind="string", tag="personal_name", method=method, key=self._key)
            if name in _PEOPLE and value is not None  # nobody yet is no name
            else value
            for name, value in row.items()
        }

    # --- first page

    def first_page(self, user: str) -> FirstPage:
        """Return the contents of the first page; a table that cannot be read becomes a problem, not an error."""
        from lab_assets.registry.serving import uncomputed_features

        problems: list[str] = []
        queue = self._part(user, "ml.predictions", self._queue, problems)
        lots = self._part(user, "gold.lot_disposition", self._lots, problems)
        exceptions = self._part(user, "gold.exceptions", self._exceptions, problems)
        counts = self._lot_counts(user) if lots else {}
        if self._log.last_error is not None:
            problems.append("New predictions are kept in the spool but cannot be committed to the table.")
        if self._watch.alarm is not None:
            problems.append("The approved model version cannot be loaded here; an older one answers, or none.")
        try:
            model = self._watch.current
            serving = {"name": model.name, "version": model.version, "digest": model.bundle.digest}
            if problem := uncomputed_features(model.bundle.info, model.version):
                problems.append(f"{problem[0].upper()}{problem[1:]}.")
        except NoModelError:
            serving = None
        return FirstPage(
            queue=queue,
            lots=lots,
            lot_counts={state: counts.get(state, 0) for state in _LOT_ORDER},
            exceptions=exceptions,
            model=serving,
            problems=problems,
        )

    def _part(self, user: str, table: str, read: Any, problems: list[str]) -> list[dict[str, Any]] | None:
        if not self._policy.current().decide(user, "SELECT", f"lab.{table}").allowed:
            return None
        try:
            return read(user)
        except TableUnavailableError:
            problems.append(f"The table {table} cannot be read at the moment.")
            return []

    def _lots(self, user: str) -> list[dict[str, Any]]:
        """Return the first lots, failing ones first."""
        import polars as pl

        order = pl.col("state").replace_strict(_LOT_ORDER, default=len(_LOT_ORDER), return_dtype=pl.Int64)
        first = self._tables.get("gold.lot_disposition").frame.sort(order, "lot_id").head(LOT_ROWS)
        return [self.masked("gold.lot_disposition", row, user=user) for row in first.to_dicts()]

    def _lot_counts(self, user: str) -> dict[str, int]:
        """Return how many lots are in each state; none where the person does not see the state in clear."""
        if "state" in self._policy.current().masked_columns(user, "gold.lot_disposition"):
            return {}
        return dict(self._tables.get("gold.lot_disposition").frame["state"].value_counts().iter_rows())

    def _exceptions(self, user: str) -> list[dict[str, Any]]:
        import polars as pl

        frame = self._tables.get("gold.exceptions").frame
        order = pl.col("severity").replace_strict(_SEVERITY_ORDER, default=3, return_dtype=pl.Int64)
        newest = frame.sort(order, pl.col("raised_at_utc"), descending=[False, True], nulls_last=True).head(EXCEPTION_ROWS)
        return [self.masked("gold.exceptions", row, user=user) for row in newest.to_dicts()]

    def _queue(self, user: str) -> list[dict[str, Any]]:
        """Return the newest prediction of recent runs: running ones first, then those of undecided lots, the highest risk first."""
        newest: dict[str, _Place] = {}
        ended = self._ended()
        for place in (*self._recent(), *self._stored()):
            if place.prediction_id in ended:
                continue
            run = place.injection_id or place.prediction_id
            newest[run] = max(newest.get(run, place), place, key=_Place.age)
        names = self._injection_names({place.injection_id for place in newest.values()})
        decided = self._decided_lots({place.lot_id for place in newest.values()})

        def order(place: _Place) -> tuple[bool, bool, float]:
            return not is_running(place, names), place.lot_id in decided, -place.risk

        chosen = sorted(newest.values(), key=order)[:QUEUE_ROWS]
        return [self._queue_row(one, names, user) for one in self._full([place.prediction_id for place in chosen])]

    def _recent(self) -> list[_Place]:
        return [_Place(*(getattr(one.prediction, name) for name in _Place._fields)) for one in self._log.recent(RECENT_ROWS)]

    def _stored(self) -> list[_Place]:
        """Return the newest predictions that count; of those that one batch made at once, the later ones of a run and the higher risks."""
        by = ("predicted_at_utc", "checkpoint_pct", "risk")
        online = self._tables.get(ONLINE_LOG, _Place._fields, newest=Newest(by=by, limit=RECENT_ROWS)).frame
        counting = Newest(by=by, limit=RECENT_ROWS, empty="ended_at_utc")
        stored = self._tables.get(PREDICTIONS, (*_Place._fields, "ended_at_utc"), newest=counting).frame.select(_Place._fields)
        return [_Place(*row) for frame in (online, stored) for row in frame.iter_rows()]

    def _ended(self) -> frozenset[str]:
        """Return the predictions that ended last; the online log does not know that they did."""
        last = Newest(by=("ended_at_utc",), limit=ENDED_ROWS, filled="ended_at_utc")
        return frozenset(self._tables.get(PREDICTIONS, ("prediction_id", "ended_at_utc"), newest=last).frame["prediction_id"])

    def _decided_lots(self, lot_ids: Collection[str | None]) -> frozenset[str]:
        try:
            rows = self._tables.get("gold.lot_disposition").rows.keyed(("lot_id", "state"), lot_id=lot_ids)
        except TableUnavailableError:
            return frozenset()
        return frozenset(lot_id for lot_id, state in rows.iter_rows() if state != "open")

    def _full(self, prediction_ids: Sequence[str]) -> list[Record]:
        """Return whole records in order; decided ones never change, so the last ones read are kept."""
        found = {one: self._log.get(one) or self._read.get(one) for one in prediction_ids}
        if missing := [one for one, record in found.items() if record is None or record.outcome is None]:
            stored = {record.prediction.prediction_id: record for record in find_records(self._settings, missing)}
            if len(self._read) > 20 * QUEUE_ROWS:
                self._read.clear()
            self._read |= {name: record for name, record in stored.items() if record.outcome is not None}
            found |= stored
        return [record for record in found.values() if record is not None]

    def _injection_names(self, injection_ids: Collection[str | None]) -> dict[str, str]:
        """Return the names of those injections that are in the tables."""
        kept = self._tables.get("silver.injections", KEPT_COLUMNS["silver.injections"])
        return dict(kept.rows.keyed(("injection_id", "injection_name"), injection_id=injection_ids).iter_rows())

    def _queue_row(self, record: Record, names: Mapping[str, str], user: str) -> dict[str, Any]:
        made, outcome = record.prediction, record.outcome
        return self.prediction(made, user=user) | {
            "label": names.get(made.injection_id or "", made.injection_id) or "feature values",
            "running": is_running(made, names),
            "path": None if outcome is None else outcome.path,
            "checks": () if outcome is None else outcome.checks,
            "risk_low": made.risk if made.risk_low is None else made.risk_low,
            "risk_high": made.risk if made.risk_high is None else made.risk_high,
        }
