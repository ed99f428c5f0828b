"""The assets of the stations, generated from their declarations: one step a layer, of which any subset can be run.

Belongs here: from stations to Dagster's assets and checks. Does not belong here: what a station does.

A step runs its chosen stations in flow order in one process, since a step costs more than most of them. Without news a station says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.reports import (
    Detail,
    check_result,
    check_spec,
    checked,
    column_lineage,
    report,
    resilient,
    selected,
    table_spec,
)
from lab_assets.stations.all_stations import stations
from lab_assets.stations.station import Station

if TYPE_CHECKING:
    from lab_assets.stations.runner import StationOutcome


class StationConfig(dg.Config):
    """How the chosen tables of a step are made."""

    rebuild: bool = False
    """Make the chosen tables anew from their inputs, whether there is news or not."""


def station_spec(station: Station) -> dg.AssetSpec:
    """Return the asset of a station."""
    spec = table_spec(station.name, deps=[each.name for each in station.inputs], kinds=station.kinds, version=station.version)
    return spec.merge_attributes(metadata={"dagster/column_lineage": column_lineage(station.feeds)})


def build_step(name: str, names: Sequence[str], *, op_tags: dict[str, str] | None = None) -> dg.AssetsDefinition:
    """Return the step that makes the tables of some stations, with their contract checks.

    Args:
        name: Name of the step.
        names: Tables, in flow order.
        op_tags: Further tags of the step.
    """
    made = [stations()[each] for each in names]

    @dg.multi_asset(
        specs=[station_spec(station) for station in made],
        check_specs=[check_spec(station.name) for station in made],
        name=name,
        can_subset=True,
        op_tags=op_tags,
        description=f"Bring {', '.join(each.rpartition('.')[2] for each in names)} up to date with what is new in their inputs.",
    )
    def step(
        context: dg.AssetExecutionContext, config: StationConfig, lake: dg.ResourceParam[Lakehouse]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        chosen, to_check = selected(context, names), checked(context, names)
        failed: set[str] = set()
        errors: dict[str, Exception] = {}
        for station in made:
            if blocked := failed & {each.name for each in station.inputs}:
                if station.name in chosen or station.name in to_check:
                    context.log.error("%s is not made: %s failed or broke its contract", station.name, ", ".join(sorted(blocked)))
                failed.add(station.name)
                continue
            if station.name in chosen:
                before = lake.version(station.target)
                try:
                    outcome = brought_up_to_date(context, lake, station, rebuild=config.rebuild)
                except Exception as error:  # noqa: BLE001 - what does not rest on it is made all the same; the step fails at its end
                    errors[station.name] = error
                    failed.add(station.name)
                    continue
                yield report(lake, station.name, before, _detail(outcome))
            if station.name in to_check:
                result = check_result(lake, station.name)
                if not result.passed:
                    failed.add(station.name)
                yield result
        _raise(errors)

    return step


def brought_up_to_date(context: dg.AssetExecutionContext, lake: Lakehouse, station: Station, *, rebuild: bool = False) -> "StationOutcome":
    """Bring the table of a station up to date; one that several runs failed on as a whole is left as it stands, and said to be.

    Raises:
        Exception: it could not be made, and is tried again by the next run.
    """
    from lab_assets.stations.runner import StationOutcome, update
    from lab_assets.stations.set_aside import WHOLE, is_of_the_rows

    try:
        work = partial(update, lake, station, run_id=context.run_id, rebuild=rebuild, say=context.log.info)
        outcome = resilient(context, lake, work)
    except Exception as error:
        aside = {each.key: each.reason for each in lake.ledger.set_aside(station.name)}
        if rebuild or WHOLE not in aside or not is_of_the_rows(error):
            raise
        outcome = StationOutcome(station=station.name, version=lake.version(station.target), set_aside=aside)
    for key, reason in outcome.set_aside.items():
        context.log.warning("set aside: %s %s: %s", station.name, key or "(all its news)", reason)
    if outcome.news or outcome.anew or outcome.made_first:
        context.log.info("%s: %s", station.name, outcome.words())
    return outcome


def _detail(outcome: "StationOutcome") -> dict[str, Detail]:
    aside: dict[str, Detail] = {"set_aside": outcome.set_aside} if outcome.set_aside else {}
    return {"news": outcome.words(), "groups_changed": outcome.changed, "rows_written": outcome.rows, **aside}


def _raise(errors: Mapping[str, Exception]) -> None:
    """Raise the first of some errors, which names the others.

    Raises:
        Exception: there is one.
    """
    for name, error in errors.items():
        error.add_note(f"{name} could not be made" + (f"; nor could {', '.join(list(errors)[1:])}" if len(errors) > 1 else ""))
        raise error


def names_of(layer: str) -> list[str]:
    """Return the tables of a layer that stations make, in flow order."""
    return [name for name in stations() if name.startswith(f"{layer}.")]
