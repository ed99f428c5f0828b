"""How news reaches neighbours: the relations between sequences, samples, lots and injections, used by several stations.

Belongs here: from changed rows to the injections they concern. Does not belong here: what is made of these.

Every function reads tables by key; which ones is said, since a station that uses it must declare them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lab_assets.contracts.bronze import CALIBRATIONS, LIMS_SAMPLES, LIMS_SEQUENCES
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.certificates import CERTIFICATE_COLUMNS, Certificates, counting_since
from lab_assets.lake.among import among

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.reading import StationReader


def names_in_sequences(read: StationReader, names: Iterable[Any]) -> pl.Series:
    """Return the injections that any worklist ever planned together with some, and these themselves, by name.

    Reads ``bronze.lims_sequences``: ``injection_name``, ``sequence_id``.
    """
    import polars as pl

    given = pl.Series("injection_name", list(names), dtype=pl.String).drop_nulls().unique()
    plans = read.keyed(LIMS_SEQUENCES, ["sequence_id"], injection_name=given)
    planned = read.keyed(LIMS_SEQUENCES, ["injection_name"], sequence_id=plans["sequence_id"])
    return pl.concat([given, planned["injection_name"]]).unique()


def names_of_plans(read: StationReader, plans: pl.DataFrame) -> pl.Series:
    """Return the injections of the sequences of some worklist entries, by name.

    Reads ``bronze.lims_sequences``: ``injection_name``, ``sequence_id``.
    """
    import polars as pl

    same = read.keyed(LIMS_SEQUENCES, ["injection_name"], sequence_id=plans["sequence_id"])
    return names_in_sequences(read, pl.concat([plans["injection_name"], same["injection_name"]]))


def samples_of_lots(read: StationReader, lots: pl.Series) -> pl.Series:
    """Return the samples that any record places in some lots.

    Reads ``bronze.lims_samples``: ``sample_name``, ``lot_id``.
    """
    return read.keyed(LIMS_SAMPLES, ["sample_name"], lot_id=lots)["sample_name"].unique()


def injections_of_samples(read: StationReader, columns: list[str], samples: pl.Series) -> pl.DataFrame:
    """Return the injections of some samples, as any worklist plans them or as their files state them.

    Reads ``silver.injections``: ``sample_name``, ``stated_sample_name``, ``injection_name``; ``bronze.lims_sequences``:
    ``injection_name``, ``sample_name``.
    """
    import polars as pl

    planned = read.keyed(LIMS_SEQUENCES, ["injection_name"], sample_name=samples)
    found = [
        read.keyed(INJECTIONS, columns, injection_name=planned["injection_name"]),
        read.keyed(INJECTIONS, columns, stated_sample_name=samples),
    ]
    return pl.concat(found).unique(maintain_order=True)


def injections_of_methods(read: StationReader, columns: list[str], methods: pl.DataFrame) -> pl.DataFrame:
    """Return the injections by some methods, as any worklist ever planned them or as their files state, or of a source that has its own.

    Which method is in force for them now does not matter: what was known earlier was worked out by the method known then.

    Reads ``silver.injections``: ``injection_name``, ``stated_method_name``, ``source``; ``bronze.lims_sequences``: ``injection_name``,
    ``method_id``.

    Args:
        read: Reads the station's inputs.
        columns: Columns of the injections to return.
        methods: ``method_id``, empty where a set of windows is that of a ``source``.
    """
    import polars as pl

    named = methods.filter(pl.col("method_id").fill_null("") != "")["method_id"]
    sources = methods.filter(pl.col("method_id").fill_null("") == "")["source"] if "source" in methods.columns else named.clear()
    planned = read.keyed(LIMS_SEQUENCES, ["injection_name"], method_id=named)
    found = [
        read.keyed(INJECTIONS, columns, injection_name=planned["injection_name"]),
        read.keyed(INJECTIONS, columns, stated_method_name=named),
        read.keyed(INJECTIONS, columns, source=sources),
    ]
    return pl.concat(found).unique(maintain_order=True)


def injections_of_windows(read: StationReader, columns: list[str], processing: pl.DataFrame) -> pl.DataFrame:
    """Return the injections that some rows of ``bronze.processing_methods`` may concern; see ``injections_of_methods``."""
    return injections_of_methods(read, columns, processing.select("source", method_id="method_name"))


def on_instruments(instruments: pl.Series) -> pl.Expr:
    """Hold for runs of some instruments, and for every run that was once known to be on another than today."""
    import polars as pl

    return among("instrument_id", instruments) | pl.col("instrument_changed_at_utc").is_not_null()


def placed(read: StationReader, runs: pl.DataFrame) -> pl.DataFrame:
    """Return runs once for each instrument that they were ever known to be on: where files do not state it, the worklist may change it.

    Reads ``bronze.lims_sequences``: ``injection_name``, ``instrument_id``.

    Args:
        read: Reads worklists.
        runs: At least ``injection_name``, ``instrument_id``, ``instrument_changed_at_utc``.
    """
    import polars as pl

    moved = runs.drop_nulls("instrument_changed_at_utc")
    if moved.is_empty():
        return runs
    plans = read.keyed(LIMS_SEQUENCES, ["injection_name", "instrument_id"], injection_name=moved["injection_name"])
    former = moved.drop("instrument_id").join(plans.drop_nulls().unique(), on="injection_name").select(runs.columns)
    return pl.concat([runs, former]).unique(maintain_order=True)


def since_certificates(read: StationReader, certificates: pl.DataFrame) -> pl.DataFrame:
    """Return the instruments of the certificates of some rows of ``bronze.calibrations``, and from when on these may have been in force.

    A record may correct when a certificate was performed, and on which instrument: every instrument that any record names is touched, each
    from the earliest time of any record for it.

    Reads ``bronze.calibrations``: ``instrument_id``, ``certificate_id``, ``performed_at_utc``.

    Returns:
        ``instrument_id`` and ``performed_at_utc``, one row an instrument.
    """
    import polars as pl

    held = read.keyed(CALIBRATIONS, ["instrument_id", "performed_at_utc"], certificate_id=certificates["certificate_id"])
    every = pl.concat([held, certificates.select(held.columns)])
    return every.group_by("instrument_id").agg(pl.col("performed_at_utc").min())


def records_of_certificates(read: StationReader, columns: Sequence[str], instruments: pl.Series) -> pl.DataFrame:
    """Return every record of the certificates that any record gives to some instruments: also the records that give them to others.

    Reads ``bronze.calibrations``: ``instrument_id``, ``certificate_id``, and the columns.
    """
    numbers = read.keyed(CALIBRATIONS, ["certificate_id"], instrument_id=instruments)["certificate_id"]
    return read.keyed(CALIBRATIONS, columns, certificate_id=numbers)


def certificates_since(read: StationReader, since: pl.DataFrame) -> Certificates:
    """Return the certificates of some instruments of which one may be in force, by what is known then, at any time from a moment on.

    An instrument of many years has hundreds; those that another one had followed before the moment count no more.

    Reads ``bronze.calibrations``: ``CERTIFICATE_COLUMNS``.

    Args:
        read: Reads the station's inputs.
        since: ``instrument_id`` and ``since``, one row an instrument; empty for now.
    """
    every = records_of_certificates(read, CERTIFICATE_COLUMNS, since["instrument_id"])
    return Certificates(counting_since(every, since).iter_rows(named=True))
