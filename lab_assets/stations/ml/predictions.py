"""Scoring of injections whose features are in the tables: predictions, decisions, explanations.

Belongs here: which rows are scored, and when a prediction stops counting. Does not belong here: what is kept of one
(``prediction_records.py``), the model (``lab_assets.modeling``), online requests (``lab_assets.service``).

A prediction is a record: it is never changed or taken away. When the features that it rests on change (a late standard, a corrected weight),
the run is scored again; the earlier prediction is kept, marked as superseded, and its decision with it. When a worklist says that the run
is a standard or blank, its predictions are marked as ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, PREDICTIONS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.injection_identity import PARTS, with_identity
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.features.inputs import ModelInputs, inputs_of
from lab_assets.lake.among import among
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.provenance import code_version
from lab_assets.registry.serving import uncomputed_features
from lab_assets.state.database import utc_text
from lab_assets.state.station_work import EVERYTHING, NOT_BEFORE, RETRY, Attention
from lab_assets.stations.ml import ended_reasons
from lab_assets.stations.ml.lost_records import LOST, add_lost
from lab_assets.stations.ml.prediction_records import Plan, append_new, compared, counting, decided, mark, prediction_id
from lab_assets.stations.ml.training_sets import FEATURE_TABLES, assemble, spine_of
from lab_assets.stations.runner import only_one, settled_versions, words_of_made_first
from lab_assets.stations.set_aside import counting_failures, fail_alone, key_text, may_set_aside, note_done, to_try_again

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.modeling.bundle import ModelBundle

STATION: Final = PREDICTIONS.full_name
SCORED_ROLES: Final = ("sample", "unknown")
_RUN: Final = ("injection_id", "injection_name", "injected_at_utc", "lot_id", "method_id", "instrument_id", "sample_name", "sample_role")
_KEY: Final = "injection_id"
_MODEL: Final = "#model"
_DIGEST: Final = "#digest"
_LEFT: Final = "#left:"
_WRITTEN: Final = (PREDICTIONS, DECISIONS, EXPLANATIONS)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one scoring did.

    Attributes:
        predictions: Rows written to ``ml.predictions``.
        superseded: Earlier predictions whose place was taken.
        ended: Predictions of runs that are not scored any more.
        decided_again: Predictions that count and were decided again, since the table of decisions had been set back.
        waiting: Runs without context that wait until their grace time is over.
        set_aside: Runs that cannot be scored, and are passed over.
        paths: Decisions by suggested path.
        table_versions: Versions the features came from.
        reason: Why nothing could be scored, where that is so.
        made_first: Tables that it rests on and that were made anew before it, each with the reason.
    """

    predictions: int = 0
    superseded: int = 0
    ended: int = 0
    decided_again: int = 0
    waiting: int = 0
    set_aside: int = 0
    paths: dict[str, int] = field(default_factory=dict[str, int])
    table_versions: dict[str, int] = field(default_factory=dict[str, int])
    reason: str = ""
    made_first: dict[str, str] = field(default_factory=dict[str, str])

    def words(self) -> str:
        """Return what was done, for people."""
        counts = {"scored": self.predictions, "superseded": self.superseded, "ended": self.ended, "decided again": self.decided_again}
        counts["set aside, since they cannot be scored"] = self.set_aside
        done = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return "; ".join(
            [*words_of_made_first(self.made_first), done or f"no news: {self.reason or 'no prediction is new or has changed'}"]
        )


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """One scoring, as its records name it.

    Attributes:
        model_version: Registered version of the model.
        mode: ``stream`` for what just arrived, ``batch`` for a deliberate scoring.
        requested_by: Who asked.
        predicted_at_utc: Now.
        run_id: Run of the orchestrator.
    """

    model_version: str
    mode: str
    requested_by: str
    predicted_at_utc: datetime
    run_id: str = ""


def score_waiting(lake: Lakehouse, bundle: ModelBundle, scoring: Scoring, *, everything: bool = False) -> Scored:
    """Score the runs whose features are new or have changed, and end predictions that no longer stand.

    Tables below the features that wait to be made anew are made first: what a restore took away is no reason to end a prediction.
    Identities of predictions follow from model, injection, checkpoint, lot, moment and feature values, so repeating is harmless.

    Args:
        lake: Tables.
        bundle: Verified model.
        scoring: How it is asked for.
        everything: Look at every run, not only at those that news touches.
    """
    begun = utc_text()
    if (inputs := inputs_of_model(bundle)) is None:  # nothing is noted: all is looked at again once there is a model that can score
        return Scored(reason=uncomputed_features(bundle.info, scoring.model_version))
    with only_one(lake, STATION), counting_failures(lake, STATION):
        versions, made_first = settled_versions(lake, (INJECTIONS, *FEATURE_TABLES), run_id=scoring.run_id)
        attention = lake.ledger.attention(STATION)
        progress = lake.ledger.progress(STATION)
        new_model = progress.get(_MODEL) != _number(bundle, inputs)
        whole = everything or new_model or any(kind == EVERYTHING for kind, _ in attention)
        due = [item for item in attention if item[0] != NOT_BEFORE or item[1].split("|")[0] <= scoring.predicted_at_utc.isoformat()]
        names = None if whole else _touched(lake, progress, versions)
        if names is not None:
            names |= dict.fromkeys((key.rpartition("|")[2] for kind, key in due if kind not in {EVERYTHING, LOST, RETRY}), None)
            names |= dict.fromkeys((json.loads(key)[_KEY] for key in to_try_again(lake, STATION, due)), None)
        # where all is looked at with the same model, as after a restore, it is news all the same to the predictions of former models
        went_back = any(progress.get(name, 0) > version for name, version in versions.items())
        changed = _touched(lake, progress, versions) if whole and progress and not (new_model or went_back) else {}
        scored = (
            Scored(table_versions=versions)
            if names is not None and not names
            else _score(lake, bundle, scoring, inputs=inputs, names=names, changed=changed, versions=versions)
        )
        if any(kind == LOST for kind, _ in due):
            derivation = Derivation(inputs=dict(lake.versions([PREDICTIONS])), run_id=scoring.run_id, code_version=code_version())
            scored = replace(scored, decided_again=add_lost(lake, scoring.predicted_at_utc, derivation))
        note_scored(lake, bundle, inputs, versions)
        if due:
            lake.ledger.attended(STATION, due, asked_by=begun)
        return replace(scored, made_first=made_first)


def note_scored(lake: Lakehouse, bundle: ModelBundle, inputs: ModelInputs, versions: Mapping[str, int]) -> None:
    """Note up to which versions of the features everything is scored, and which version of each of its tables the scoring left.

    Args:
        lake: Tables.
        bundle: Model that scored.
        inputs: What it was given.
        versions: Versions of the feature tables.
    """
    left = {f"{_LEFT}{name}": version for name, version in lake.versions(_WRITTEN).items()}
    model = {_MODEL: _number(bundle, inputs), _DIGEST: int(bundle.digest[:12], 16)}
    lake.ledger.set_progress(STATION, {**versions, **left, **model})


def of_last_model(lake: Lakehouse) -> pl.Expr:
    """Return which predictions are of the model that scored last: the next scoring can say of them again whether they count."""
    import polars as pl

    number = lake.ledger.progress(STATION).get(_DIGEST)
    return pl.lit(False) if number is None else pl.col("model_digest").str.starts_with(f"{number:012x}")  # noqa: FBT003 - of polars


def inputs_of_model(bundle: ModelBundle) -> ModelInputs | None:
    """Return what a model is given: columns of today's rows where its features are computed today, else rows of its own set, if they do."""
    return inputs_of(bundle.info.feature_set_version, bundle.feature_names)


def _number(bundle: ModelBundle, inputs: ModelInputs) -> int:
    """Return a number that changes with the model, and with the columns that its inputs are read from: all is then scored anew."""
    former = "".join(f"|{feature.former_column}" for feature in inputs.former.values())
    other = "" if inputs.feature_set_version == FEATURE_SET_VERSION else f"|{inputs.feature_set_version}"
    return int(hashlib.sha256(f"{bundle.digest}{other}{former}".encode()).hexdigest()[:12] if other or former else bundle.digest[:12], 16)


def _touched(lake: Lakehouse, progress: Mapping[str, int], versions: Mapping[str, int]) -> dict[str, str | None]:
    """Return the injections whose features, or whose part in their sequence, have changed, with their names."""
    import polars as pl

    found: dict[str, str | None] = {}
    named = ("injection_id", "injection_name")

    def changed(table: Any, columns: Sequence[str]) -> pl.DataFrame:
        since, until = progress.get(table.full_name, 0), versions[table.full_name]
        return lake.changes(table, columns, since=since, until=until).both.unique() if since != until else pl.DataFrame()

    def add(rows: pl.DataFrame) -> None:
        found.update(rows.select(named).iter_rows())

    def add_injections(where: pl.Expr) -> None:
        add(lake.polars(INJECTIONS, named, version=versions[INJECTIONS.full_name], where=where))

    if not (rows := changed(INJECTION_PROGRESS, list(INJECTION_PROGRESS.column_names))).is_empty():
        add(rows)
    if not (rows := changed(INJECTIONS, _RUN)).is_empty():
        add(rows)
    if not (rows := changed(INSTRUMENT_HISTORY, list(INSTRUMENT_HISTORY.column_names))).is_empty():
        for (instrument, method), states in rows.group_by("instrument_id", "method_id"):
            own = (pl.col("instrument_id") == instrument) & (pl.col("method_id") == method)
            add_injections(own & (pl.col("injected_at_utc") >= states["event_time_utc"].min()))
    if not (rows := changed(LOT_HISTORY, list(LOT_HISTORY.column_names))).is_empty():
        add_injections(among("lot_id", rows["lot_id"]))
    if not (rows := changed(STORAGE_EXPOSURE, list(STORAGE_EXPOSURE.column_names))).is_empty():
        add_injections(among("sample_name", rows["sample_name"]))
    return found


def _runs(lake: Lakehouse, version: int, names: Mapping[str, str | None] | None) -> pl.DataFrame:
    """Return some injections, or all; by their names too where all are known, so that files without them are skipped."""
    import polars as pl

    where = None
    if names is not None:
        where = among("injection_id", pl.Series(list(names), dtype=pl.String))
        if None not in names.values():
            where &= among("injection_name", pl.Series(list(names.values()), dtype=pl.String))
    return lake.polars(INJECTIONS, list(_RUN), version=version, where=where)


def _score(
    lake: Lakehouse,
    bundle: ModelBundle,
    scoring: Scoring,
    *,
    inputs: ModelInputs,
    names: Mapping[str, str | None] | None,
    changed: Collection[str],
    versions: dict[str, int],
) -> Scored:
    """Score some runs, or all with those of them that have changed, and hold what comes out against what is kept."""
    import polars as pl

    runs = _runs(lake, versions[INJECTIONS.full_name], names)
    scorable = runs.filter(pl.col("sample_role").is_in(SCORED_ROLES))
    waiting = _waiting(lake, scorable.filter(pl.col("sample_role") == "unknown"), scoring.predicted_at_utc)
    scorable = scorable.join(waiting, on="injection_id", how="anti")
    spine = spine_of(lake, versions, scorable, latest=True, feature_set_version=inputs.feature_set_version)

    def made_of(some: pl.DataFrame) -> list[dict[str, Any]]:
        rows = assemble(lake, some, versions, inputs=inputs) if some.height else some
        return _predictions(rows, bundle, scoring, versions) if rows.height else []

    aside = _cannot_be_scored(spine, made_of) if may_set_aside(lake, STATION) else {}
    made = made_of(spine.filter(~among(_KEY, pl.Series(list(aside), dtype=pl.String))) if aside else spine)
    standing = _standing(lake, names, runs)
    if names is None:
        # what a former model said of runs that another one scores now stays what it said; of those that changed, and others, it ends
        scored = {row["injection_id"] for row in made}.difference(changed)
        standing = [
            row
            for row in standing
            if row["model_digest"] == bundle.digest or row["injection_id"] not in scored or ended_reasons.waits(row["ended_reason"])
        ]
    plan = compared(lake, made, standing, {*waiting[_KEY], *aside}, scoring.predicted_at_utc)
    paths = _keep(lake, bundle, plan, scoring, versions, whole=names is None)
    by_key = {key_text({_KEY: name}): reason for name, reason in aside.items()}
    note_done(lake, STATION, by_key, tried=lambda key: names is None or json.loads(key)[_KEY] in names)
    return Scored(
        predictions=len(plan.new),
        superseded=sum(row["superseded_by"] is not None for row in plan.ended),
        ended=sum(row["superseded_by"] is None for row in plan.ended),
        waiting=waiting.height,
        set_aside=len(aside),
        paths=paths,
        table_versions=versions,
        reason=_unscored(bundle, scoring, without=scorable.join(spine, on="injection_id", how="anti").height, runs=scorable.height),
    )


def _cannot_be_scored(spine: pl.DataFrame, made_of: Callable[[pl.DataFrame], Any]) -> dict[str, str]:
    """Return the runs that fail alone, by identity, each with the reason."""
    names = spine[_KEY].unique(maintain_order=True).to_list()
    return fail_alone(names, lambda some: made_of(spine.filter(spine[_KEY].is_in(list(some)))))


def _unscored(bundle: ModelBundle, scoring: Scoring, *, without: int, runs: int) -> str:
    """Return why runs have no score, where that is the model's, or all of them have none.

    Args:
        bundle: Model that scored.
        scoring: How it was asked for.
        without: Runs without features of the model.
        runs: Runs looked at.
    """
    if without and (reason := uncomputed_features(bundle.info, scoring.model_version)):
        return f"{without} of {runs} run(s) have no score: {reason}"
    return f"no run has features of the model's feature set {bundle.info.feature_set_version}" if runs and without == runs else ""


def _waiting(lake: Lakehouse, unknown: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return the runs whose worklist may still come, and ask to look at them again when their grace time is over."""
    import polars as pl

    grace = timedelta(seconds=lake.settings.context_grace_s)
    if unknown.is_empty() or not grace:
        return unknown.select("injection_id").clear()
    columns = list(dict.fromkeys((*PARTS, "ingested_at_utc")))
    traces = lake.polars(CHROMATOGRAMS, columns, where=among("injection_name", unknown["injection_name"]))
    arrived = with_identity(traces).group_by("injection_id").agg(pl.col("ingested_at_utc").min())
    young = unknown.join(arrived, on="injection_id").filter(pl.col("ingested_at_utc") > now - grace)
    lake.ledger.call_attention(
        Attention(station=STATION, kind=NOT_BEFORE, key=f"{(at + grace).isoformat()}|{name}", reason="no worklist names the run yet")
        for name, at in young.select("injection_id", "ingested_at_utc").iter_rows()
    )
    return young.select("injection_id")


def _standing(lake: Lakehouse, names: Collection[str] | None, runs: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the predictions from tables of some runs, or of all, by any model: those that count and those that do not.

    A prediction is as of no moment before its run began; of a run that is gone that moment is not known, and all are looked through.
    """
    import polars as pl

    where = pl.col("mode") != "online"
    if names is not None:
        where &= among("injection_id", pl.Series(list(names), dtype=pl.String))
        began = runs["injected_at_utc"]
        if runs.height == len(names) and not began.has_nulls():
            where &= pl.col("as_of_utc") >= began.min()
    columns = ["prediction_id", "injection_id", "checkpoint_pct", "model_digest", "as_of_utc", "ended_at_utc", "ended_reason"]
    return lake.polars(PREDICTIONS, columns, where=where).to_dicts()


def _predictions(rows: pl.DataFrame, bundle: ModelBundle, scoring: Scoring, versions: dict[str, int]) -> list[dict[str, Any]]:
    from lab_assets.features.vector import to_map, to_matrix

    names = bundle.feature_names
    scores = bundle.score(to_matrix(rows, names))
    made: list[dict[str, Any]] = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        features = to_map(row, names)
        checkpoint = int(row["checkpoint_pct"])
        made.append(
            {
                "prediction_id": prediction_id(bundle.digest, row, features),
                **{name: row[name] for name in ("injection_id", "lot_id", "as_of_utc")},
                "checkpoint_pct": checkpoint,
                "risk": float(scores.risk[position]),
                "risk_low": float(scores.low[position]),
                "risk_high": float(scores.high[position]),
                "raw_score": float(scores.raw[position]),
                "model_name": bundle.info.model_name,
                "model_version": scoring.model_version,
                "model_digest": bundle.digest,
                "feature_set_version": bundle.info.feature_set_version,
                "features": features,
                "table_versions": versions,
                "mode": scoring.mode,
                "requested_by": scoring.requested_by,
                "predicted_at_utc": scoring.predicted_at_utc,
                "_verdict": str(scores.verdict[position]),
            }
        )
    return made


def _keep(lake: Lakehouse, bundle: ModelBundle, plan: Plan, scoring: Scoring, versions: dict[str, int], *, whole: bool) -> dict[str, int]:
    """Write new predictions with their decisions and explanations, then mark what they take the place of.

    Predictions come after their decisions: a run killed in between scores the rows again and finds their decisions kept. What an
    undisturbed scoring left has all its decisions beside it, so they are looked for in what was written since, or everywhere where a
    table was set back meanwhile (then every run is scored).

    Returns:
        Decisions by suggested path.
    """
    decisions, explanations, paths = decided(bundle, plan.new, scoring.predicted_at_utc)
    model: dict[str, int | str] = {f"model:{bundle.info.model_name}": scoring.model_version}
    derivation = Derivation(inputs={**versions, **model}, run_id=scoring.run_id, code_version=code_version())
    left = {} if whole else {name.removeprefix(_LEFT): version for name, version in lake.ledger.progress(STATION).items()}

    def append(contract: TableContract, rows: list[dict[str, Any]], key: str) -> None:
        append_new(lake, contract, rows, key, derivation, since=left.get(contract.full_name))

    in_parallel(
        [
            lambda: append(DECISIONS, decisions, "decision_id"),
            lambda: append(EXPLANATIONS, explanations, "prediction_id"),
        ]
    )
    append(PREDICTIONS, plan.new, "prediction_id")
    mark(lake, [*plan.ended, *map(counting, plan.again)], derivation)
    return paths
