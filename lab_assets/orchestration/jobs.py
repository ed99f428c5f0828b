"""The jobs: which stations run together.

Belongs here: selections and their tags. Does not belong here: when they run (``sensors.py``, ``schedules.py``).
"""

import dagster as dg

from lab_assets.orchestration.assets.bronze import NAMES as BRONZE
from lab_assets.orchestration.assets.reports import asset_key
from lab_assets.orchestration.maintenance import MAINTAIN

_WRITES = {"lab/writes": "tables"}
"""Tag of runs that write tables: ``dagster.yaml`` lets one of them run at a time."""
_LINEAGE = dg.AssetSelection.assets(["governance", "lineage"])
_INTEGRITY = dg.AssetSelection.assets(["governance", "integrity"])
_RECORDS = ("ml.training_sets", "ml.evaluations", "ml.drift", "ml.alerts")
"""Tables of records that other jobs write; oversight checks them."""
_SCORES = dg.AssetSelection.assets(["ml", "predictions"], ["ml", "decisions"], ["ml", "explanations"])

INGEST = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.groups("bronze", "silver", "features", "gold")
    | dg.AssetSelection.assets(["ml", "labels"])
    | _SCORES
    | _LINEAGE,
    description="Take finished files of the inbox all the way: bronze, silver, features, scores, gold, lineage.",
    tags=_WRITES,
)
REFRESH_GOLD = dg.define_asset_job(
    "refresh_gold",
    selection=dg.AssetSelection.groups("gold", "governance") - _INTEGRITY,
    description="Bring the gold tables, the audit copy and the access review up to date.",
    tags=_WRITES,
)
OVERSIGHT = dg.define_asset_job(
    "hourly_oversight",
    selection=(dg.AssetSelection.groups("silver", "features", "gold", "governance") - _INTEGRITY)
    | dg.AssetSelection.assets(["ml", "labels"])
    | _SCORES
    | dg.AssetSelection.checks_for_assets(*map(asset_key, (*BRONZE, *_RECORDS))),
    description="Bring every layer above bronze up to date whether or not files arrived, and check every table of every layer.",
    tags=_WRITES,
)
_TRAINING = dg.AssetSelection.assets(["ml", "labels"], ["ml", "training_sets"], ["ml", "oos_risk"], ["ml", "evaluations"]) | _LINEAGE
TRAIN = dg.define_asset_job(
    "train",
    selection=_TRAINING,
    description="Freeze a training set, train, calibrate, judge at the gate, register a challenger.",
    tags=_WRITES,
)
RETRAIN = dg.define_asset_job(
    "retrain",
    selection=_TRAINING,
    description="As train, asked for by schedule or persistent drift; ends at the same gate, and a person approves.",
    tags={**_WRITES, "lab/reason": "retrain"},
)
SCORE_BATCH = dg.define_asset_job(
    "score_batch",
    selection=_SCORES | _LINEAGE,
    description="Score everything the serving model has not scored, also rows whose features were corrected.",
    tags=_WRITES,
)
CHECK_DRIFT = dg.define_asset_job(
    "check_drift",
    selection=dg.AssetSelection.assets(["ml", "drift"], ["ml", "alerts"]) | _LINEAGE,
    description="Hold recent inputs and predictions against the model's reference.",
    tags=_WRITES,
)
SCRUB = dg.define_asset_job(
    "scrub",
    selection=_INTEGRITY | _LINEAGE,
    description="Hash the kept originals and the files of all tables again, and name what is missing or changed.",
)

JOBS = (INGEST, REFRESH_GOLD, OVERSIGHT, TRAIN, RETRAIN, SCORE_BATCH, CHECK_DRIFT, SCRUB, MAINTAIN)
