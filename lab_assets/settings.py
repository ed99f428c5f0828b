"""Every setting of the product, and the only reader of the environment.

Belongs here: names, defaults, meanings and derived paths. Does not belong here: anything that acts on a setting.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lab_assets import setting_rules as rules

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PREFIX: Final = "LAB_"
_ENV_FILE: Final = ".env"
_RULES: Final[Mapping[str, Callable[[str], None]]] = {
    "zone": rules.require_zone,
    "spark_memory": rules.require_heap,
    "spark_remote": rules.require_remote,
    "lake_uri": rules.require_lake,
    "db_url": rules.require_database,
    "mlflow_tracking_uri": rules.require_mlflow,
    "host": rules.require_host,
    "log_level": rules.require_log_level,
}
SOURCE_SETTINGS: Final = ("done_sources", "strict_sources", "source_zones", "source_date_orders")
"""Settings that name drop folders."""
_SECRET: Final = frozenset({"spark_remote", "db_url", "mlflow_tracking_uri"})
"""Settings that may hold a password: what was given is not repeated."""
_NOT_SETTINGS: Final = frozenset({"LAB_UP_MARK"})
"""Variables of the prefix that the product hands to its own processes."""


class Settings(BaseSettings):
    """Settings, read from ``LAB_*`` variables and a ``.env`` file in the working directory."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=_ENV_FILE, extra="ignore", populate_by_name=True)

    home: Path = Field(default=PROJECT_ROOT / "data", description="Folder of everything the laboratory keeps.")
    db_url: str | None = Field(default=None, description="SQLAlchemy URL of the relational state; default: SQLite in home.")
    lake_uri: str | None = Field(default=None, description="Root of the Delta tables; default: home/lake.")
    jars_dir: Path = Field(default=PROJECT_ROOT / ".jars", description="Folder of the JARs Spark needs besides its own.")
    mlflow_tracking_uri: str | None = Field(
        default=None, validation_alias="MLFLOW_TRACKING_URI", description="MLflow; default: SQLite in home/mlflow."
    )

    spark_remote: str | None = Field(default=None, description="sc://host:port/;token=... of another Spark Connect server.")
    spark_memory: str = Field(default="1g", description="Heap of the embedded Spark server.")
    spark_idle_s: float = Field(default=600.0, ge=5, description="Embedded Spark server ends after this long without a user.")

    inbox_interval_s: int = Field(default=5, ge=1, description="Least time between two looks at the inbox.")
    stable_s: float = Field(default=2.0, ge=0, description="A file is finished when unchanged for this long.")
    folder_stable_s: float = Field(default=10.0, ge=0, description="The same for a folder that is one item (.D, .raw).")
    done_sources: list[str] = Field(
        default_factory=list, description="Sources, JSON list, whose files are finished only when NAME.done lies beside them."
    )
    strict_sources: list[str] = Field(
        default_factory=list, description="Sources, JSON list, whose files are refused for a column that no contract names."
    )
    context_grace_s: float = Field(
        default=900.0, ge=0, description="A run that no worklist names is scored as unknown only after waiting this long for one."
    )
    batch_files: int = Field(default=1000, ge=1, description="Most files taken by one ingestion batch.")
    ingest_turn_s: float = Field(
        default=120.0,
        ge=0,
        description="A run begins no further batch after so long: gold, checks and other runs that write have their turn.",
    )
    parse_timeout_s: float = Field(default=120.0, gt=0, description="Longest time a reader may work on one file.")
    parse_memory_mb: int = Field(default=3072, ge=256, description="Most memory a reader may take for one file, MiB.")
    zone: str = Field(default="UTC", description="IANA zone assumed for instrument times that state none.")
    source_zones: dict[str, str] = Field(default_factory=dict, description="Zone by source, JSON, over LAB_ZONE.")
    date_order: Literal["dmy", "mdy"] | None = Field(
        default=None, description="Order of day and month (dmy, mdy) in instrument dates such as 03/04/2026 that can be read either way."
    )
    source_date_orders: dict[str, Literal["dmy", "mdy"]] = Field(
        default_factory=dict, description="Order of day and month by source, JSON, over LAB_DATE_ORDER."
    )

    host: str = Field(default="127.0.0.1", description="Address the services listen on.")
    service_port: int = Field(default=8600, ge=1, le=65535, description="Port of the service (REST and pages).")
    dagster_port: int = Field(default=3000, ge=1, le=65535, description="Port of the Dagster UI.")
    mlflow_port: int = Field(default=5000, ge=1, le=65535, description="Port of the MLflow UI.")

    disk_warn_gib: float = Field(default=10.0, ge=0, description="'lab doctor' and 'lab status' warn when a disk has less free, GiB.")
    disk_least_gib: float = Field(default=2.0, ge=0, description="With less free, GiB, 'lab doctor' fails.")
    disk_warn_days: float = Field(default=14.0, gt=0, description="They warn as well when, by its growth, the disk is full in fewer days.")
    backup_passphrase: str | None = Field(default=None, repr=False, description="Passphrase of the keys in backups.")

    replaced_hours: float = Field(
        default=24.0,
        ge=1,
        le=168,
        description="Data files and commits that only earlier versions of a table need stay as they are for so long, for those who are "
        "reading them; then the table's archive holds them, out of which every version is still read.",
    )
    record_years: int = Field(
        default=10,
        ge=1,
        description="How long records are kept, years (the longest that GMP asks for of the laboratory's products). Rows, originals and "
        "versions of tables are never removed by maintenance; the history of runs that wrote to tables is kept, packed, for so long.",
    )
    run_days: int = Field(
        default=30, ge=1, description="Finished runs stay in Dagster for so long; those that wrote to a table are packed before they go."
    )
    mlflow_deleted_days: int = Field(
        default=30, ge=0, description="Runs deleted in MLflow are removed after so long; those of registered or signed models never."
    )
    quarantine_days: int | None = Field(
        default=None,
        ge=1,
        description="Copies of refused files in the quarantine folder are removed after so long; default: never. The bytes stay in raw.",
    )
    scratch_hours: float = Field(
        default=24.0, ge=1, description="What ended processes left (Spark scratch, staged batches, drafts) is removed after so long."
    )
    log_mib: float = Field(default=20.0, gt=0, description="A log of a process is turned over when it is larger, MiB.")
    log_copies: int = Field(default=3, ge=1, description="Compressed earlier copies of each log that are kept.")

    session_idle_min: int = Field(default=30, ge=1, description="Sign-in ends after this long without use.")
    scrub_days: int = Field(default=7, ge=1, description="Every kept file is hashed again once in so many days, a part of them each day.")
    failpoint: str = Field(
        default="", description="Tests only: place at which the process kills itself, or PLACE:enospc at which the disk is full."
    )
    log_level: str = Field(default="INFO", description="Level of the product's log.")

    @field_validator(*_RULES, mode="after")
    @classmethod
    def _keeps_its_rule(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse what is not allowed; nothing between the quotes means that the setting is not made."""
        if value == "" and cls.model_fields[info.field_name or ""].default is None:
            return None
        if value is not None:
            _RULES[info.field_name or ""](value)
        return value

    @field_validator("home")
    @classmethod
    def _is_plain(cls, value: Path) -> Path:
        rules.require_plain_path(str(value.resolve()))
        return value

    @field_validator(*SOURCE_SETTINGS)
    @classmethod
    def _names_sources(cls, value: list[str] | dict[str, str], info: ValidationInfo) -> list[str] | dict[str, str]:
        for name in value:
            rules.require_source(name)
        if isinstance(value, dict) and info.field_name == "source_zones":
            for zone in value.values():
                rules.require_zone(zone)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """Refuse settings that exclude each other."""
        ports: dict[int, str] = {}
        for name in ("service_port", "dagster_port", "mlflow_port"):
            port = getattr(self, name)
            if port in ports:
                raise ValueError(f"{ports[port]} and {variable_of(name)} are both {port}: each needs a port of its own")
            ports[port] = variable_of(name)
        if self.disk_warn_gib < self.disk_least_gib:
            raise ValueError(f"LAB_DISK_WARN_GIB ({self.disk_warn_gib:g}) is below LAB_DISK_LEAST_GIB ({self.disk_least_gib:g})")
        return self

    @property
    def inbox(self) -> Path:
        """Drop folders."""
        return self.home / "inbox"

    @property
    def raw(self) -> Path:
        """Original bytes by digest."""
        return self.home / "raw"

    @property
    def quarantine(self) -> Path:
        """Copies of refused files with their reason, for people."""
        return self.home / "quarantine"

    @property
    def formats(self) -> Path:
        """Descriptions of the laboratory's own loggers, one YAML file each."""
        return self.home / "formats"

    @property
    def run(self) -> Path:
        """Sockets, process ids, tokens, locks, staged batches."""
        return self.home / "run"

    @property
    def lake(self) -> str:
        """Root of the Delta tables."""
        return self.lake_uri or str(self.home / "lake")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of ledger, users, grants, approvals and audit."""
        return self.db_url or f"sqlite:///{self.home / 'lab.db'}"

    @property
    def mlflow_uri(self) -> str:
        """Tracking and registry URI of MLflow."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifact root of the embedded MLflow."""
        return self.home / "mlflow" / "artifacts"

    def zone_of(self, source: str) -> str:
        """Return the IANA zone assumed for a source's times without a zone."""
        return self.source_zones.get(source, self.zone)

    def date_order_of(self, source: str) -> Literal["dmy", "mdy"] | None:
        """Return the declared order of day and month in a source's dates, if any."""
        declared: dict[str, Literal["dmy", "mdy"] | None] = {**self.source_date_orders}
        return declared.get(source, self.date_order)

    def table_uri(self, layer: str, name: str) -> str:
        """Return where a Delta table lives."""
        return f"{self.lake}/{layer}/{name}"


@cache
def get_settings() -> Settings:
    """Return the process's settings, read once."""
    settings = Settings()
    settings.home = settings.home.resolve()
    return settings


def variable_of(name: str) -> str:
    """Return the variable that sets a setting."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"


def unknown_variables() -> dict[str, str]:
    """Return the variables of the prefix that set nothing, in the environment and in ``.env``, each with the right name it is most like."""
    from dotenv import dotenv_values

    known = sorted(map(variable_of, Settings.model_fields))
    given = {*os.environ, *(dotenv_values(_ENV_FILE) if Path(_ENV_FILE).is_file() else ())}
    wrong = sorted(name for name in given if name.upper().startswith(PREFIX) and name.upper() not in {*known, *_NOT_SETTINGS})
    return {name: rules.nearest(name, known) for name in wrong}


def setting_problems(error: BaseException) -> list[str]:
    """Return what is wrong with which variable, as an error of reading the settings says it; nothing for any other error."""
    if hasattr(error, "errors"):
        return [_problem(each) for each in error.errors() if error.title == Settings.__name__]  # type: ignore[attr-defined]  # pydantic's ValidationError
    found = re.search(r'error parsing value for field "(\w+)"', str(error))
    if found is None:
        return []
    example = '{"hplc": ...}' if "dict" in str(Settings.model_fields[found[1]].annotation) else '["hplc", "lims"]'
    return [f"{variable_of(found[1])}: it is not JSON; write it as {example}"]


def _problem(each: Mapping[str, Any]) -> str:
    """Say what is wrong with one setting, and what is allowed."""
    message = str(each["msg"]).removeprefix("Value error, ")
    if not each["loc"]:
        return message
    name = next((field for field in Settings.model_fields if str(each["loc"][0]) in {field, variable_of(field)}), "")
    if not name:
        return f"{each['loc'][0]}: {message}"
    given = "" if name in _SECRET or not isinstance(each["input"], str | int | float) else f"={each['input']}"
    allowed = rules.range_of(Settings.model_fields[name].metadata)
    numbers = f"; allowed are numbers {allowed}" if allowed and each["type"] != "value_error" else ""
    return f"{variable_of(name)}{given}: {message}{numbers}"
