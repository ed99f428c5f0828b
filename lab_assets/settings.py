"""Every setting of the product, and the only reader of the environment.

Belongs here: names, defaults, meanings and derived paths. Does not belong here: anything that acts on a setting.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
_UNPLAIN = re.compile(r"""[^!-~]|["#%<>?\\^`{|}]""", re.ASCII)
"""What is written otherwise in an address than in a path; the libraries that read tables do not agree on which of both they are given."""


class Settings(BaseSettings):
    """Settings, read from ``LAB_*`` variables and a ``.env`` file in the working directory."""

    model_config = SettingsConfigDict(env_prefix="LAB_", env_file=".env", extra="ignore", populate_by_name=True)

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
    service_port: int = Field(default=8600, description="Port of the service (REST and pages).")
    dagster_port: int = Field(default=3000, description="Port of the Dagster UI.")
    mlflow_port: int = Field(default=5000, description="Port of the MLflow UI.")

    session_idle_min: int = Field(default=30, ge=1, description="Sign-in ends after this long without use.")
    failpoint: str = Field(
        default="", description="Tests only: place at which the process kills itself, or PLACE:enospc at which the disk is full."
    )
    log_level: str = Field(default="INFO", description="Level of the product's log.")

    @field_validator("home", "lake_uri")
    @classmethod
    def _is_plain(cls, value: Path | str | None) -> Path | str | None:
        """Refuse a folder in which no table could be read: a space is enough."""
        if value is None or (isinstance(value, str) and "://" in value and not value.startswith("file://")):
            return value
        path = str(value.resolve() if isinstance(value, Path) else value)
        if found := _UNPLAIN.search(path):
            raise ValueError(
                f"the path {path} holds {found[0]!r}: choose a folder whose path has letters of ASCII, digits, . _ - and / only"
            )
        return value

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
