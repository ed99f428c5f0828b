"""``lab catalog``: the tables, what they promise and where they came from.

Belongs here: arguments and printing. Does not belong here: contracts, lineage itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import JsonOption, database, print_json, print_table, refusals

if TYPE_CHECKING:
    from lab_assets.contracts.core import TableContract
    from lab_assets.lake.table_life import TableLife

app = typer.Typer(help="The catalogue of tables.", no_args_is_help=True)


def _state(contract: TableContract) -> dict[str, Any]:
    """Return a table's version and rows as its Delta log states them; no rows are read."""
    from lab_assets.governance.relations import table_state
    from lab_assets.settings import get_settings

    version, rows = table_state(get_settings(), contract)
    return {"version": version, "rows": rows}


def _summaries(found: Iterable[TableContract]) -> list[dict[str, Any]]:
    from lab_assets.settings import get_settings
    from lab_assets.state.database import require_laboratory

    require_laboratory(get_settings())
    return [_summary(contract) for contract in found]


def _summary(contract: TableContract) -> dict[str, Any]:
    head = {"table": contract.full_name, "grain": contract.grain, "description": contract.description, "owner": contract.owner}
    return head | {"columns": len(contract.columns)} | _state(contract)


def _print_summaries(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        columns = ("table", "grain", "owner", "version", "rows")
        print_table(columns, [[item[column] for column in columns] for item in found])


@app.command(name="list")
def list_(layer: Annotated[str | None, typer.Option(help="Only this schema.")] = None, as_json: JsonOption = False) -> None:
    """List tables."""
    from lab_assets.contracts.all_contracts import contracts

    with refusals():
        chosen = [contract for contract in contracts().values() if layer in {None, contract.layer}]
        if not chosen:
            raise ValueError(f"no schema {layer!r}; known: {', '.join(sorted({item.layer for item in contracts().values()}))}")
        _print_summaries(_summaries(chosen), as_json=as_json)


@app.command()
def search(words: Annotated[list[str], typer.Argument(help="Words that all occur.")], as_json: JsonOption = False) -> None:
    """Find tables by name, grain, description, owner, or the names, meanings and tags of their columns."""
    from lab_assets.contracts.all_contracts import contracts

    def text(contract: TableContract) -> str:
        columns = [part for column in contract.columns for part in (column.name, column.meaning, *column.tags)]
        return " ".join((contract.full_name, contract.grain, contract.description, contract.owner, *columns)).lower()

    with refusals():
        found = [contract for contract in contracts().values() if all(word.lower() in text(contract) for word in words)]
        _print_summaries(_summaries(found), as_json=as_json)


@app.command()
def show(table: Annotated[str, typer.Argument(help="layer.table")], as_json: JsonOption = False) -> None:
    """Show what a table promises: columns, meaning, unit, key, tags."""
    from lab_assets.contracts.all_contracts import contract as find
    from lab_assets.governance.policy import PolicyStore

    with refusals():
        contract = find(table)
        tags = PolicyStore(database()).current().tags.get(table, {})
        columns = [
            {
                "name": column.name,
                "kind": column.kind,
                "unit": column.unit,
                "nullable": column.nullable,
                "meaning": column.meaning,
                "tags": sorted(tags.get(column.name, ())),
            }
            for column in contract.columns
        ]
        document = _summary(contract) | {"primary_key": contract.primary_key, "contract_version": contract.version, "columns": columns}
        if as_json:
            print_json(document)
            return
        typer.echo(f"{contract.full_name}: {contract.description}")
        typer.echo(f"one row is {contract.grain}; key {', '.join(contract.primary_key) or 'none'}; owner {contract.owner}")
        typer.echo(f"version {document['version']}, {document['rows']} row(s)" if document["version"] is not None else "no data yet")
        print_table(
            ("column", "kind", "unit", "meaning", "tags"),
            [(c["name"], c["kind"], c["unit"], c["meaning"], ", ".join(c["tags"])) for c in columns],
        )


def _no_lineage(asked: str) -> str:
    """Say why nothing is shown for what was asked."""
    from lab_assets.contracts.all_contracts import contracts

    known = contracts()
    if asked in known or asked.startswith("model:"):
        return f"no lineage is recorded for {asked!r}: nothing was written to it yet"
    table, _, column = asked.rpartition(".")
    if table in known and column in known[table].column_names:
        return f"{asked!r} is a column: lab catalog lineage {table} --column {column}"
    near = get_close_matches(asked, known, n=1)
    return f"no table is named {asked!r}" + (f": did you mean {near[0]}?" if near else "; lab catalog list shows them")


@app.command()
def lineage(
    table: Annotated[str, typer.Argument(help="layer.table or model:NAME")],
    version: Annotated[str | None, typer.Option(help="Its version; default: the newest one.")] = None,
    column: Annotated[str | None, typer.Option(help="Show instead which columns this one is worked out of, back to bronze.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a version was made from, back to the files; or what a column is worked out of.

    What no run has recorded yet is read from the commits. A table that began anew counts from 0 again: shown is the version that is there,
    or, where there is none of that number, the one that an earlier life of the table had, which is said.
    """
    from lab_assets.governance.lineage import column_upstream, is_of, upstream
    from lab_assets.governance.relations import lineage_of
    from lab_assets.settings import get_settings

    with refusals():
        rows = lineage_of(get_settings())
        if column is not None:
            _show_columns(table, column, column_upstream(rows, table, column), as_json=as_json)
            return
        life = _life(table)
        rows += _to_come(table, rows, life)
        mine = [row for row in rows if row["output"] == table and row.get("output_column") is None]
        if not mine:
            raise ValueError(_no_lineage(table))
        present = [row for row in mine if is_of(life, row)]
        chosen = version or max(present or mine, key=lambda row: row["recorded_at_utc"])["output_version"]
        of_it = [row for row in mine if row["output_version"] == chosen]
        is_earlier = bool(of_it) and not any(is_of(life, row) for row in of_it)
        if life is not None and not all(is_of(life, row) for row in of_it):
            typer.secho(_words_of_lives(table, chosen, life, is_earlier=is_earlier), err=True, fg="yellow")
        found = upstream(rows, table, chosen, life=life)
        if as_json:
            print_json({"output": table, "output_version": chosen, "earlier_life": is_earlier, "lineage": found})
        else:
            columns = ("output", "output_version", "input", "input_version", "run_id", "code_version", "recorded_at_utc")
            print_table(columns, [[row[column] for column in columns] for row in found], title=f"{table} version {chosen}")


def _words_of_lives(table: str, version: str, life: TableLife, *, is_earlier: bool) -> str:
    """Say that a number was given in an earlier life of a table."""
    anew = f"{table} began anew at {life.began_at_utc:%Y-%m-%d %H:%M:%S} UTC and counts from 0 since"
    if is_earlier:
        return f"version {version} belongs to an earlier life of the table and is not there any more: {anew}"
    return f"an earlier life of the table had a version {version} as well, which is not shown: {anew}"


def _life(asked: str) -> TableLife | None:
    """Return the life of a table that is there; ``None`` of models, and where nothing was ever written."""
    from lab_assets.contracts.all_contracts import contracts
    from lab_assets.lake.reader import LakeReader
    from lab_assets.lake.table_life import present_life
    from lab_assets.settings import get_settings
    from lab_assets.state.ledger import Ledger

    known = contracts()
    return present_life(LakeReader(get_settings(), Ledger(database())), known[asked]) if asked in known else None


def _to_come(asked: str, recorded: Sequence[Mapping[str, Any]], life: TableLife | None) -> list[dict[str, Any]]:
    """Return what commits state that is not recorded yet; another damaged table than the one that was asked for is left out and named."""
    from lab_assets.contracts.all_contracts import contracts
    from lab_assets.governance.lineage import is_of
    from lab_assets.lake.opening import DamagedTableError
    from lab_assets.lake.reader import LakeReader
    from lab_assets.settings import get_settings
    from lab_assets.state.ledger import Ledger
    from lab_assets.stations.governance.lineage import STATION, not_among, rows_to_come

    lake, found = LakeReader(get_settings(), Ledger(database())), list[dict[str, Any]]()
    newest = dict.fromkeys(contracts(), -1)
    for row in recorded:
        if row["output"] in newest and row.get("output_column") is None:
            newest[row["output"]] = max(newest[row["output"]], int(row["output_version"]))
    reached = lake.ledger.progress(STATION)
    since = {name: min(version, reached.get(name, version)) for name, version in newest.items()}  # a table that began anew is behind
    if any(row["output"] == asked and row.get("output_column") is None and not is_of(life, row) for row in recorded):
        since[asked] = -1
    for contract in contracts().values():
        try:
            found += rows_to_come(lake, contract, since[contract.full_name])
        except DamagedTableError as error:
            if contract.full_name == asked:
                raise
            typer.secho(f"warning: its newest versions are not shown: {error}", err=True, fg="yellow")
    return not_among(recorded, found)


def _show_columns(table: str, column: str, found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if not found:
        raise ValueError(f"no lineage is recorded for the column {column!r} of {table!r}; see 'lab catalog show {table}'")
    if as_json:
        print_json({"output": table, "output_column": column, "lineage": [dict(row) for row in found]})
        return
    columns = ("output", "output_column", "input", "input_column")
    print_table(columns, [[row[name] for name in columns] for row in found], title=f"{table}.{column}")
