"""``lab model``: registered models, their approval and which of them serves.

Belongs here: arguments, printing, exit codes. Does not belong here: who may do what (``lab_assets.governance``), MLflow and
bundles (``lab_assets.registry``).

``--as`` names the person on whose behalf the owner of this machine acts; the policy decides as if that person had asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.governance.approvals import Approval, Approvals
    from lab_assets.registry.model_records import VersionInfo
    from lab_assets.settings import Settings

app = typer.Typer(name="model", help="Models: list, compare, submit, approve, reject, promote, rollback.", no_args_is_help=True)

ORIGIN: Final = "cli"
T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Version = Annotated[str, typer.Argument(help="Registered version of oos_risk.", show_default=False)]
User = Annotated[str, typer.Option("--as", help="Person who acts.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.", show_default=False)]
Evidence = Annotated[str, typer.Option("--evidence", help="Evidence digest you have seen; default: the one submitted.", show_default=False)]


@app.command("list")
def list_models(*, as_json: Json = False) -> None:
    """List registered versions with stage, approval and test metrics, newest first."""
    settings, engine = _opened()
    rows = [_listed(info, submissions, serving) for info, submissions, serving in _versions_with_approvals(settings, engine)]
    if as_json:
        _print_json(rows)
        return
    columns = ("version", "stage", "approval", "serves", "log_loss", "auc", "digest")  # fits 80 characters; --json gives all
    _print_table([_flat(row) for row in rows], columns, empty="no model is registered yet: train one")


@app.command()
def compare(first: Version, second: Version, *, as_json: Json = False) -> None:
    """Compare the test metrics of two versions, overall and by slice. Test rows may differ: see the training sets."""
    from lab_assets.registry.serving import registry_of

    settings, _ = _opened()
    registry = registry_of(settings)
    one, two = _attempt(lambda: (registry.version(first), registry.version(second)))
    ours, theirs = _all_metrics(one), _all_metrics(two)
    rows = [
        {"metric": name, "first": ours.get(name), "second": theirs.get(name), "difference": _difference(ours.get(name), theirs.get(name))}
        for name in sorted({*ours, *theirs})
    ]
    if as_json:
        same = one.training_set_id == two.training_set_id
        _print_json({"first": asdict(one), "second": asdict(two), "same_training_set": same, "metrics": rows})
        return
    _print_table(rows, ("metric", "first", "second", "difference"), empty="no metrics are logged")


@app.command()
def submit(version: Version, *, user: User, reason: Reason) -> None:
    """Submit a version for approval: binds its digest, metrics and data versions."""
    from lab_assets.registry.serving import bundle_of, registry_of

    settings, engine = _opened()
    registry = registry_of(settings)

    def act() -> Approval:
        info = registry.version(version)
        bundle = bundle_of(settings, info.digest, version=version)
        return _approvals(engine).submit(
            registry.model_name,
            version,
            digest=bundle.digest,
            metrics=dict(bundle.info.metrics),
            data_versions=dict(info.table_versions),
            trained_by=info.trained_by,
            submitted_by=user,
            reason=reason,
            origin=ORIGIN,
        )

    submitted = _attempt(act)
    _mirror(settings, engine)
    typer.echo(f"version {version} is submitted as {submitted.approval_id}; evidence {submitted.evidence_digest}")


@app.command()
def approve(version: Version, *, user: User, reason: Reason, evidence: Evidence = "") -> None:
    """Approve a submitted version; not by who trained or submitted it."""
    settings, engine = _opened()

    def act() -> Approval:
        from lab_assets.registry.serving import bundle_of

        found = _open_submission(engine, version)
        bundle_of(settings, found.digest, version=version)  # what cannot be served is not approved
        seen = evidence or found.evidence_digest
        return _approvals(engine).approve(found.approval_id, approver=user, evidence=seen, reason=reason, origin=ORIGIN)

    decided = _attempt(act)
    typer.echo(f"version {version} is approved by {user}; digest {decided.digest}; 'lab model promote {version}' lets it serve")


@app.command()
def reject(version: Version, *, user: User, reason: Reason, evidence: Evidence = "") -> None:
    """Reject a submitted version; not by who trained or submitted it."""
    settings, engine = _opened()

    def act() -> Approval:
        found = _open_submission(engine, version)
        seen = evidence or found.evidence_digest
        return _approvals(engine).reject(found.approval_id, approver=user, evidence=seen, reason=reason, origin=ORIGIN)

    _attempt(act)
    _mirror(settings, engine)
    typer.echo(f"version {version} is rejected by {user}")


@app.command()
def promote(version: Version, *, user: User, reason: Reason) -> None:
    """Let an approved version serve from now on."""
    from lab_assets.governance.approvals import ConflictError
    from lab_assets.registry.serving import bundle_of

    settings, engine = _opened()

    def act() -> None:
        approved = {each.model_version: each for each in _approvals(engine).approved_versions(_model_name())}
        if version in approved:
            bundle_of(settings, approved[version].digest, version=version)  # in the cache before the service asks for it
        try:
            _approvals(engine).promote(_model_name(), version, by=user, reason=reason, origin=ORIGIN)
        except ConflictError:
            _mirror(settings, engine)  # a promotion that was cut off here is repeated: the mirror is what it lacks
            raise

    _attempt(act)
    _mirror(settings, engine)
    typer.echo(f"version {version} serves")


@app.command()
def rollback(
    *,
    user: User,
    reason: Reason,
    to: Annotated[str | None, typer.Option("--to", help="Version that served before; default: the one before the present.")] = None,
) -> None:
    """Let an earlier version serve again."""
    settings, engine = _opened()
    served = _attempt(lambda: _approvals(engine).rollback(_model_name(), by=user, reason=reason, model_version=to, origin=ORIGIN))
    _mirror(settings, engine)
    typer.echo(f"version {served.model_version} serves again")


def _opened() -> tuple[Settings, Engine]:
    from lab_assets.settings import get_settings
    from lab_assets.state.database import open_made

    settings = get_settings()
    return settings, open_made(settings)


def _approvals(engine: Engine) -> Approvals:
    from lab_assets.governance.approvals import Approvals

    return Approvals(engine)


def _model_name() -> str:
    from lab_assets.registry.mlflow_registry import MODEL_NAME

    return MODEL_NAME


def _attempt(action: Callable[[], T]) -> T:
    """Do something; say why it cannot be done and exit with 1."""
    from lab_assets.governance.approvals import ApprovalError, NotAllowedError
    from lab_assets.governance.clock_guard import ClockBehindError
    from lab_assets.modeling.bundle_info import BundleError

    try:
        return action()
    except (ApprovalError, NotAllowedError, ClockBehindError, BundleError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _open_submission(engine: Engine, version: str) -> Approval:
    from lab_assets.governance.approvals import ApprovalError

    waiting = _approvals(engine).submissions(_model_name(), state="submitted")
    found = next((each for each in waiting if each.model_version == version), None)
    if found is None:
        raise ApprovalError(
            f"version {version} waits for no decision; waiting: {', '.join(each.model_version for each in waiting) or 'none'}"
        )
    return found


def _mirror(settings: Settings, engine: Engine) -> None:
    """Show in MLflow what was decided; the ledger holds already, so a failure is printed and put right by the next check."""
    from lab_assets.registry.serving import mirror_ledger, registry_of

    registry = registry_of(settings)
    from mlflow.exceptions import MlflowException

    from lab_assets.modeling.bundle_info import BundleError

    try:
        mirror_ledger(registry, engine)
    except (MlflowException, BundleError) as error:
        typer.echo(f"warning: MLflow does not show it yet: {error}", err=True)


def _versions_with_approvals(settings: Settings, engine: Engine) -> list[tuple[VersionInfo, list[Approval], str | None]]:
    from lab_assets.registry.known_models import require_known
    from lab_assets.registry.serving import registry_of

    registry = registry_of(settings)
    _attempt(lambda: require_known(registry, engine))
    submissions = _approvals(engine).submissions(_model_name())
    serving = _approvals(engine).serving(_model_name())
    return [
        (info, [each for each in submissions if each.model_version == info.version], serving.model_version if serving else None)
        for info in registry.versions()
    ]


def _listed(info: VersionInfo, submissions: list[Approval], serving: str | None) -> dict[str, Any]:
    return {**asdict(info), "approval": submissions[0].state if submissions else "not submitted", "serves": info.version == serving}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **row["metrics"], "digest": row["digest"][:8], "serves": "yes" if row["serves"] else ""}


def _all_metrics(info: VersionInfo) -> dict[str, float]:
    return {**{f"all/{name}": value for name, value in info.metrics.items()}, **info.slice_metrics}


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else second - first


def _print_json(document: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _print_table(rows: list[dict[str, Any]], columns: tuple[str, ...], *, empty: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo(empty)
        return
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))
