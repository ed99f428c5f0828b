"""What every station of the graph shares: specs from contracts, reports, lineage.

Belongs here: the frame around a station. Does not belong here: any particular table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg

from lab_assets.compute.session import SparkGoneError
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.registry import contract
from lab_assets.disk import naming_a_full_disk
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import get_settings

T = TypeVar("T")
Detail = str | float | list[Any] | dict[str, Any] | None

SPARK_ATTEMPTS = 3
TOWARDS_A_SCORE = {"dagster/priority": "1"}
"""Tags of the steps that a score waits for: they run before gold tables and copies that wait for nothing else."""
POLARS = ("polars", "deltalake")
"""Kinds of a table whose rows are few and short enough to be made in the run's own process."""
LIGHTGBM = ("lightgbm", "deltalake")
PYTHON = ("python", "deltalake")


def table_spec(name: str, *, deps: Sequence[str] = (), kinds: tuple[str, ...] = ("spark", "deltalake")) -> dg.AssetSpec:
    """Return the asset of a table, with everything its contract promises.

    Args:
        name: ``layer.table``.
        deps: Tables it is made from, ``layer.table``.
        kinds: What makes it.
    """
    table = contract(name)
    return dg.AssetSpec(
        key=list(table.key),
        deps=[asset_key(dep) for dep in deps],
        description=f"{table.description}\n\nOne row: {table.grain}.",
        group_name=table.layer,
        owners=[table.owner],
        kinds=set(kinds),
        code_version=f"contract-{table.version}",
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


def asset_key(name: str) -> dg.AssetKey:
    """Return the asset key of ``layer.table``."""
    return dg.AssetKey(name.split("."))


def resilient(context: dg.AssetExecutionContext, lake: Lakehouse, work: Callable[[], T]) -> T:
    """Do idempotent work again with a new Spark session when the server went away in the middle.

    Args:
        context: Told of each attempt that failed.
        lake: Whose session the work uses; whichever of its calls notices the loss, the session is replaced.
        work: Safe to repeat.

    Raises:
        SparkGoneError: the server went away at every attempt.
        NoSpaceError: a disk is full.
    """
    for attempt in range(1, SPARK_ATTEMPTS + 1):
        try:
            with naming_a_full_disk(get_settings()):
                return lake.keeper.guard(work)
        except SparkGoneError as error:
            if attempt == SPARK_ATTEMPTS:
                raise
            context.log.warning("%s (attempt %d of %d)", error, attempt, SPARK_ATTEMPTS)
    raise AssertionError("unreachable")


def reports(
    context: dg.AssetExecutionContext,
    lake: Lakehouse,
    names: Sequence[str],
    *,
    extra: Mapping[str, Mapping[str, Detail]] | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Report tables of the station, and note where versions came from that were not told of yet.

    Args:
        context: Of the station.
        lake: Tables.
        names: The tables; those that do not exist yet are created empty.
        extra: Further metadata by table.
    """
    told = lake.ledger.reported_versions()
    made: dict[str, int] = {}
    for name in names:
        table = contract(name)
        version = lake.version(table)
        if is_news := version != told.get(name, 0):
            made[name] = version
        yield dg.MaterializeResult(
            asset_key=asset_key(name),
            data_version=dg.DataVersion(str(version)),
            metadata={
                "dagster/row_count": lake.row_count(table),
                "dagster/uri": lake.uri(table),
                "delta_version": version,
                "changed": is_news,
                **(extra or {}).get(name, {}),
            },
        )
    derived = [_derivation(context, name, at, {dep: _version_of(lake, dep) for dep in _inputs(context, name)}) for name, at in made.items()]
    lake.ledger.note_derivations(derived, made)


def note_derivation(
    context: dg.AssetExecutionContext, lake: Lakehouse, output: str, version: int | str, inputs: Mapping[str, int | str]
) -> None:
    """Note where something that is no table came from, such as a model."""
    lake.ledger.note_derivations([_derivation(context, output, version, inputs)])


def _inputs(context: dg.AssetExecutionContext, name: str) -> list[str]:
    spec = context.assets_def.specs_by_key[asset_key(name)]
    return [".".join(dep.asset_key.path) for dep in spec.deps]


def _version_of(lake: Lakehouse, name: str) -> int | str:
    from lab_assets.contracts.registry import contracts

    return lake.version(contract(name)) if name in contracts() else "latest"


def _derivation(context: dg.AssetExecutionContext, output: str, version: int | str, inputs: Mapping[str, int | str]) -> dict[str, object]:
    from lab_assets.provenance import code_version

    return {
        "output": output,
        "output_version": str(version),
        "inputs": {name: str(value) for name, value in inputs.items()} or {f"files:{output}": str(version)},
        "run_id": context.run_id,
        "code_version": code_version(),
        "recorded_at": datetime.now(UTC).isoformat(),
    }
