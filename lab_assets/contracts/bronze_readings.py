"""Bronze contracts of readings: chambers, loggers, certificates, and reported values of other instruments.

Belongs here: single values with time and unit. Does not belong here: traces (``bronze_chromatography.py``).
"""

from __future__ import annotations

from lab_assets.contracts.bronze_core import PROVENANCE, RESCUED
from lab_assets.contracts.core import Column, TableContract

CHAMBER_READINGS = TableContract(
    layer="bronze",
    name="chamber_readings",
    rejects="row",
    grain="one reading of one stability chamber",
    description="Temperature and humidity logs of the stability chambers.",
    owner="team:stability",
    columns=(
        Column(name="chamber_id", kind="string", meaning="chamber", nullable=False),
        Column(name="read_at_text", kind="string", meaning="time of the reading, the file's own text", nullable=False),
        Column(name="read_at_utc", kind="timestamp_utc", meaning="time of the reading in UTC", nullable=False),
        Column(name="zone_known", kind="bool", meaning="whether the file states a zone", nullable=False),
        Column(name="temperature_c", kind="float64", meaning="temperature", unit="degC", minimum=-90, maximum=200),
        Column(name="humidity_pct", kind="float64", meaning="relative humidity", unit="%", minimum=0, maximum=100),
        Column(name="set_temperature_c", kind="float64", meaning="set point", unit="degC", minimum=-90, maximum=200),
        Column(name="set_humidity_pct", kind="float64", meaning="set point", unit="%", minimum=0, maximum=100),
        RESCUED,
        *PROVENANCE,
    ),
)

CALIBRATIONS = TableContract(
    layer="bronze",
    name="calibrations",
    version=2,
    rejects="row",
    grain="one parameter of one calibration certificate",
    description="Calibration and qualification of instruments.",
    owner="team:metrology",
    columns=(
        Column(name="certificate_id", kind="string", meaning="certificate number", nullable=False),
        Column(name="instrument_id", kind="string", meaning="instrument calibrated", nullable=False),
        Column(name="parameter", kind="string", meaning="what was calibrated, such as flow or wavelength", nullable=False),
        Column(name="deviation", kind="float64", meaning="deviation found", nullable=False),
        Column(name="tolerance", kind="float64", meaning="largest deviation allowed", nullable=False, minimum=0),
        Column(name="unit", kind="string", meaning="unit of deviation and tolerance", nullable=False),
        Column(name="outcome", kind="string", meaning="judgement on the certificate", nullable=False, allowed=("pass", "fail")),
        Column(name="performed_at_utc", kind="timestamp_utc", meaning="when it was done", nullable=False),
        Column(name="valid_until_utc", kind="timestamp_utc", meaning="end of validity", nullable=False),
        Column(name="performed_by", kind="string", meaning="who calibrated", tags=("personal_name",)),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the certificate was recorded; empty: when it was performed"),
        RESCUED,
        *PROVENANCE,
    ),
)

SENSOR_READINGS = TableContract(
    layer="bronze",
    name="sensor_readings",
    rejects="row",
    grain="one reading of one quantity of one logger",
    description="Time series of loggers that a small description makes known: column, quantity and unit.",
    owner="team:data-engineering",
    columns=(
        Column(name="logger_id", kind="string", meaning="logger or sensor", nullable=False),
        Column(name="quantity", kind="string", meaning="what was measured, as its description names it", nullable=False),
        Column(name="value", kind="float64", meaning="reading in the file's own number", nullable=False),
        Column(name="unit", kind="string", meaning="unit of the reading", nullable=False),
        Column(name="read_at_text", kind="string", meaning="time of the reading, the file's own text", nullable=False),
        Column(name="read_at_utc", kind="timestamp_utc", meaning="time of the reading in UTC", nullable=False),
        Column(name="zone_known", kind="bool", meaning="whether the file or its description states a zone", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

MEASUREMENTS = TableContract(
    layer="bronze",
    name="measurements",
    grain="one value of one measurement that an instrument reported",
    description="Reported values of instruments other than chromatographs: particle counters, spectrophotometers, plate readers, titrators.",
    owner="team:data-engineering",
    columns=(
        Column(name="measurement_no", kind="int64", meaning="measurement in the file, from 1", nullable=False, minimum=1),
        Column(name="sample_name", kind="string", meaning="sample as the file states it"),
        Column(name="technique", kind="string", meaning="kind of measurement, Allotrope term", nullable=False),
        Column(name="quantity", kind="string", meaning="what was measured, Allotrope term", nullable=False),
        Column(name="value", kind="float64", meaning="reported number in the file's own unit"),
        Column(name="value_text", kind="string", meaning="reported value where it is no number"),
        Column(name="unit", kind="string", meaning="unit of the value; empty when it has none"),
        Column(name="position", kind="string", meaning="what the value belongs to within the measurement, such as a size bin or a well"),
        Column(name="measured_at_text", kind="string", meaning="time of measurement, the file's own text"),
        Column(name="measured_at_utc", kind="timestamp_utc", meaning="time of measurement in UTC"),
        Column(name="zone_known", kind="bool", meaning="whether the file states a zone", nullable=False),
        Column(name="instrument_name", kind="string", meaning="instrument as the file states it"),
        Column(name="software", kind="string", meaning="software and version"),
        Column(name="method_name", kind="string", meaning="method or protocol as the file states it"),
        Column(name="operator", kind="string", meaning="person at the instrument", tags=("personal_name",)),
        RESCUED,
        *PROVENANCE,
    ),
)
