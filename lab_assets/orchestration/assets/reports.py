"""What every asset of the graph shares: specs from contracts, repeated work, reports, contract checks.

Belongs here: the frame around a station. Does not belong here: any particular table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg

from lab_assets.compute.session import SparkGoneError
from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.core import TableContract
from lab_assets.environment_errors import naming_environment_faults
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.plots import PLOTS
from lab_assets.settings import get_settings

T = TypeVar("T")
Detail = str | float | list[Any] | dict[str, Any] | dg.MetadataValue | None

SPARK_ATTEMPTS = 3
TOWARDS_A_SCORE = {"dagster/priority": "1"}
"""Tags of the steps that a score waits for: they run before gold tables and copies that wait for nothing else."""
CHECK = "contract"
_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 12


def table_spec(name: str, *, deps: Sequence[str] = (), kinds: Sequence[str] = ("polars", "deltalake"), version: int = 1) -> dg.AssetSpec:
    """Return the asset of a table, with everything its contract promises.

    Args:
        name: ``layer.table``.
        deps: Tables it is made from, ``layer.table``.
        kinds: What makes it.
        version: Version of the station that makes it.
    """
    table = contract(name)
    return dg.AssetSpec(
        key=list(table.key),
        deps=[asset_key(dep) for dep in deps],
        description=f"{table.description}\n\nOne row: {table.grain}.",
        group_name=table.layer,
        owners=[table.owner],
        kinds=set(kinds),
        code_version=f"contract-{table.version}.station-{version}",
        metadata={
            "dagster/column_schema": column_schema(table),
            "grain": table.grain,
            "primary_key": ", ".join(table.primary_key) or "none",
            "contract_version": table.version,
        },
        tags={"lab/sensitivity": "tagged"} if table.tagged_columns() else {},
    )


def column_schema(table: TableContract) -> dg.TableSchema:
    """Return a contract's columns for the catalogue."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.kind,
                description=f"{column.meaning}{f' [{column.unit}]' if column.unit else ''}",
                constraints=dg.TableColumnConstraints(nullable=column.nullable, other=[f"tag: {tag}" for tag in column.tags]),
            )
            for column in table.columns
        ]
    )


def column_lineage(feeds: Mapping[str, Sequence[str]]) -> dg.TableColumnLineage:
    """Return which input columns feed which columns, as Dagster's catalogue shows it."""
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=asset_key(source.rpartition(".")[0]), column_name=source.rpartition(".")[2])
                for source in dict.fromkeys(sources)
            ]
            for column, sources in feeds.items()
        }
    )


def asset_key(name: str) -> dg.AssetKey:
    """Return the asset key of ``layer.table``."""
    return dg.AssetKey(name.split("."))


def check_spec(name: str) -> dg.AssetCheckSpec:
    """Return the blocking check of a table: what depends on it does not start when it fails."""
    return dg.AssetCheckSpec(
        CHECK, asset=asset_key(name), blocking=True, description="Every row keeps the rules of the contract; keys are unique."
    )


def selected(context: dg.AssetExecutionContext, names: Sequence[str]) -> list[str]:
    """Return the tables of a step that were chosen to be materialised."""
    return [name for name in names if asset_key(name) in context.selected_asset_keys]


def checked(context: dg.AssetExecutionContext, names: Sequence[str]) -> list[str]:
    """Return the tables of a step whose contract check was chosen."""
    return [name for name in names if dg.AssetCheckKey(asset_key(name), CHECK) in context.selected_asset_check_keys]


def resilient(context: dg.AssetExecutionContext, lake: Lakehouse, work: Callable[[], T]) -> T:
    """Do idempotent work again with a new Spark session when the server went away in the middle.

    Args:
        context: Logs each attempt that failed.
        lake: Whose session the work uses; whichever of its calls notices the loss, the session is replaced.
        work: Safe to repeat.

    Raises:
        SparkGoneError: the server went away at every attempt.
        EnvironmentFaultError: a disk is full, or the environment keeps the work from being done otherwise.
    """
    for attempt in range(1, SPARK_ATTEMPTS + 1):
        try:
            with naming_environment_faults(get_settings()):
                return lake.keeper.guard(work)
        except SparkGoneError as error:
            if attempt == SPARK_ATTEMPTS:
                raise
            context.log.warning("%s (attempt %d of %d)", error, attempt, SPARK_ATTEMPTS)
    raise AssertionError("unreachable")


def report(lake: Lakehouse, name: str, before: int, extra: Mapping[str, Detail] | None = None) -> dg.MaterializeResult:
    """Report one table: rows, version, last change, whether there was news, some rows and its plot; tagged columns are hidden.

    Rows and plot are shown of an unchanged table as well: its page has the metadata of the latest materialisation alone.

    Args:
        lake: Tables.
        name: The table; one that does not exist yet is created empty.
        before: Its version before the work.
        extra: Further metadata; ``news`` takes the place of the words that follow from the versions.
    """
    table = contract(name)
    version = lake.version(table)
    changed = version != before
    shown: dict[str, Detail] = {"preview": dg.MetadataValue.md(_preview(lake, table))}
    if name in PLOTS:
        shown["plot"] = dg.MetadataValue.md(PLOTS[name](lake))
    return dg.MaterializeResult(
        asset_key=asset_key(name),
        data_version=dg.DataVersion(str(version)),
        metadata={
            "dagster/row_count": lake.row_count(table),
            "dagster/uri": lake.uri(table),
            "delta_version": version,
            "changed": changed,
            "news": f"rows were written: version {before} became {version}" if changed else "no news: nothing was written",
            "last_change": dg.MetadataValue.timestamp(_last_change(lake, table)),
            **shown,
            **(extra or {}),
        },
    )


def _last_change(lake: Lakehouse, table: TableContract) -> datetime:
    """Return when the newest version was committed."""
    return datetime.fromtimestamp(lake.history(table, 1)[0]["timestamp"] / 1000, UTC)


def _preview(lake: Lakehouse, table: TableContract) -> str:
    """Return some rows of the newest file as Markdown, as everybody may see them: tagged columns hidden, long arrays cut."""
    from lab_assets.lake.versions import shown

    names = [column.name for column in table.columns if "<" not in column.kind and column.kind != "binary"][:_PREVIEW_COLUMNS]
    rows = [shown(table, row) for row in lake.newest_rows(table, names, _PREVIEW_ROWS).iter_rows(named=True)]
    if not rows:
        return "no rows"
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    return "\n".join(lines + ["| " + " | ".join("" if row[name] is None else str(row[name]) for name in names) + " |" for row in rows])


def check_result(lake: Lakehouse, name: str) -> dg.AssetCheckResult:
    """Hold a table against its contract, as far as it has changed since it was last found whole."""
    from lab_assets.stations.quality import mending, violations

    broken = violations(lake, contract(name))
    mend = mending(name, broken)
    return dg.AssetCheckResult(
        check_name=CHECK,
        asset_key=asset_key(name),
        passed=not broken,
        metadata={"broken_rules": broken, "rules_version": contract(name).version, **({"mend": mend} if mend else {})},
    )


def check_results(context: dg.AssetExecutionContext, lake: Lakehouse, names: Sequence[str]) -> Iterator[dg.AssetCheckResult]:
    """Yield the chosen contract checks of some tables."""
    for name in checked(context, names):
        yield check_result(lake, name)
