"""The assets of the stations, generated from their declarations: one step a layer, of which any subset can be run.

Belongs here: from stations to Dagster's assets and checks. Does not belong here: what a station does.

A step runs its chosen stations in flow order in one process, since a step costs more than most of them. Without news a station says so.
"""

from collections.abc import Iterator, Sequence
from functools import partial

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
        from lab_assets.stations.runner import update

        chosen, to_check = selected(context, names), checked(context, names)
        failed: set[str] = set()
        for station in made:
            if blocked := failed & {each.name for each in station.inputs}:
                if station.name in chosen or station.name in to_check:
                    context.log.error("%s is not made: %s broke its contract", station.name, ", ".join(sorted(blocked)))
                failed.add(station.name)
                continue
            if station.name in chosen:
                before = lake.version(station.target)
                outcome = resilient(
                    context,
                    lake,
                    partial(update, lake, station, run_id=context.run_id, rebuild=config.rebuild, say=context.log.info),
                )
                if outcome.news or outcome.anew or outcome.made_first:
                    context.log.info("%s: %s", station.name, outcome.words())
                detail: dict[str, Detail] = {"news": outcome.words(), "groups_changed": outcome.changed, "rows_written": outcome.rows}
                yield report(lake, station.name, before, detail)
            if station.name in to_check:
                result = check_result(lake, station.name)
                if not result.passed:
                    failed.add(station.name)
                yield result

    return step


def names_of(layer: str) -> list[str]:
    """Return the tables of a layer that stations make, in flow order."""
    return [name for name in stations() if name.startswith(f"{layer}.")]
