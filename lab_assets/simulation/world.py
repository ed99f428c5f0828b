"""Who and what the simulated laboratory has: products, methods, analysts, instruments, chambers.

Belongs here: constants of the world, with their units. Does not belong here: anything that changes with time.
All names are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Vendor = Literal["shimadzu", "agilent", "waters", "thermo"]

NOMINAL_STANDARD_MG: Final = 20.0
"""Standard weight every method asks for, mg."""

API_AREA_MAU_MIN: Final = 75.0
"""Area of the main compound at 100 % of nominal, mAU x min."""

RELATIVE_RESPONSE: Final[dict[str, float]] = {"API": 1.0, "IMP-A": 0.92, "IMP-B": 1.08}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One specification limit pair, % unless the method says otherwise."""

    method_id: str
    analyte: str
    low: float | None
    high: float | None
    unit: str = "%"


@dataclass(frozen=True, kw_only=True)
class Product:
    """One product and how its lots vary.

    Attributes:
        code: Product code.
        prefix: Prefix of its lot numbers.
        formulation: Composition, for the master record.
        drug_load: Share of the main compound in the tablet, by weight.
        dosed_pct: Mean main compound dosed, % of label claim.
        dosing_sd: Its standard deviation between lots.
        process_loss_pct: Median loss of main compound in granulation.
        extraction_sd: Content variation between preparations of a lot, relative.
        impurity_a_pct: Median IMP-A from synthesis, %; granulation adds to it.
        impurity_b_pct: Median IMP-B from synthesis, %; granulation adds to it.
        rate_pct_per_year: Median loss of main compound at 25 degC and 60 % RH.
        yield_a: IMP-A formed per loss of main compound.
        yield_b: IMP-B formed per loss of main compound.
        dissolution_pct: Mean release at 30 min, %.
        dissolution_sd: Between lots.
        tablet_sd: Between tablets of a lot, relative.
        sample_mg: Sample weight that holds the nominal amount, mg.
    """

    code: str
    prefix: str
    formulation: str
    drug_load: float
    dosed_pct: float
    dosing_sd: float
    process_loss_pct: float
    extraction_sd: float
    impurity_a_pct: float
    impurity_b_pct: float
    rate_pct_per_year: float
    yield_a: float
    yield_b: float
    dissolution_pct: float
    dissolution_sd: float
    tablet_sd: float
    sample_mg: float


PRODUCTS: Final = (
    Product(
        code="NEBRILAT-10",
        prefix="NEB",
        formulation="nebrilat 10 mg; lactose 118 mg; povidone 6 mg; magnesium stearate 1 mg",
        drug_load=10 / 135,
        dosed_pct=99.9,
        dosing_sd=1.5,
        process_loss_pct=1.45,
        extraction_sd=0.0055,
        impurity_a_pct=0.11,
        impurity_b_pct=0.12,
        rate_pct_per_year=1.05,
        yield_a=0.062,
        yield_b=0.024,
        dissolution_pct=87.5,
        dissolution_sd=4.4,
        tablet_sd=0.022,
        sample_mg=270.0,
    ),
    Product(
        code="ORSALINE-50",
        prefix="ORS",
        formulation="orsaline 50 mg; mannitol 90 mg; croscarmellose 8 mg; silica 2 mg",
        drug_load=50 / 150,
        dosed_pct=100.0,
        dosing_sd=1.6,
        process_loss_pct=1.0,
        extraction_sd=0.0045,
        impurity_a_pct=0.15,
        impurity_b_pct=0.14,
        rate_pct_per_year=0.75,
        yield_a=0.085,
        yield_b=0.028,
        dissolution_pct=89.0,
        dissolution_sd=4.6,
        tablet_sd=0.020,
        sample_mg=60.0,
    ),
)

ASSAY: Final = "ASSAY-01"
RELATED: Final = "RS-01"
DISSOLUTION: Final = "DISS-01"
METHODS: Final = (ASSAY, RELATED, DISSOLUTION)
WATER: Final = "WATER-01"
HARDNESS: Final = "HARD-01"

LIMITS: Final = (
    Limit(method_id=ASSAY, analyte="API", low=95.0, high=105.0),
    Limit(method_id=RELATED, analyte="IMP-A", low=None, high=0.5),
    Limit(method_id=RELATED, analyte="IMP-B", low=None, high=0.3),
    Limit(method_id=DISSOLUTION, analyte="API", low=80.0, high=None),
    Limit(method_id=WATER, analyte="WATER", low=None, high=5.0),
    Limit(method_id=HARDNESS, analyte="HARDNESS", low=60.0, high=140.0, unit="N"),
)
"""The same for both products; results are judged as measured, without rounding."""

REPORTED: Final[dict[str, tuple[str, ...]]] = {ASSAY: ("API",), RELATED: ("IMP-A", "IMP-B"), DISSOLUTION: ("API",)}
"""Analytes each chromatographic method reports."""

RETENTION_MIN: Final[dict[str, float]] = {"EXC-1": 0.98, "IMP-A": 1.45, "EXC-2": 1.64, "API": 4.2, "EXC-3": 4.56, "IMP-B": 5.6}
"""Retention on a new column at nominal flow and 35 degC; EXC-* come from the tablet matrix."""

WINDOWS_MIN: Final[dict[str, tuple[float, float]]] = {"API": (3.8, 4.75), "IMP-A": (1.3, 1.6), "IMP-B": (5.2, 6.2)}
"""Where the processing method looks for each analyte, min."""

VOID_MIN: Final = 0.62
RUN_MIN: Final = 7.0
CYCLE_MIN: Final = 9.0
"""Run and the time until the next injection, min."""


@dataclass(frozen=True, kw_only=True)
class Analyst:
    """One analyst: how evenly, truly and reliably samples are diluted (relative standard deviation, bias, slips)."""

    name: str
    dilution_sd: float
    bias: float
    slip_rate: float


ANALYSTS: Final = (
    Analyst(name="A. Lindqvist", dilution_sd=0.0030, bias=0.0005, slip_rate=0.006),
    Analyst(name="B. Okafor", dilution_sd=0.0035, bias=-0.0005, slip_rate=0.010),
    Analyst(name="C. Marchetti", dilution_sd=0.0045, bias=0.0015, slip_rate=0.020),
    Analyst(name="D. Hossain", dilution_sd=0.0040, bias=-0.0020, slip_rate=0.015),
    Analyst(name="E. Novak", dilution_sd=0.0065, bias=-0.0030, slip_rate=0.050),
)


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One HPLC system.

    Attributes:
        instrument_id: Name in files and LIMS.
        vendor: Data system; decides the file format.
        source: Drop folder.
        share: Share of the sequences it runs.
        noise_mau: Detector noise with a new lamp, mAU.
        pressure_bar: System pressure with a new column, bar.
        flow_bias: Relative error of the flow after service.
        injector_sd: Repeatability of the injected volume, relative.
        wear_rate: How fast pump and injector wear, 1 = as designed.
        first_service_day: Days from the start until the first service.
    """

    instrument_id: str
    vendor: Vendor
    source: str
    share: float
    noise_mau: float
    pressure_bar: float
    flow_bias: float
    injector_sd: float
    wear_rate: float
    first_service_day: int


INSTRUMENTS: Final = (
    Instrument(
        instrument_id="LC-01",
        vendor="shimadzu",
        source="hplc_shimadzu",
        share=0.65,
        noise_mau=0.012,
        pressure_bar=208.0,
        flow_bias=0.002,
        injector_sd=0.0016,
        wear_rate=1.0,
        first_service_day=70,
    ),
    Instrument(
        instrument_id="LC-02",
        vendor="agilent",
        source="hplc_agilent",
        share=0.25,
        noise_mau=0.010,
        pressure_bar=221.0,
        flow_bias=-0.003,
        injector_sd=0.0014,
        wear_rate=0.9,
        first_service_day=110,
    ),
    Instrument(
        instrument_id="LC-03",
        vendor="waters",
        source="hplc_waters",
        share=0.05,
        noise_mau=0.014,
        pressure_bar=199.0,
        flow_bias=0.004,
        injector_sd=0.0020,
        wear_rate=1.2,
        first_service_day=40,
    ),
    Instrument(
        instrument_id="LC-04",
        vendor="thermo",
        source="hplc_thermo",
        share=0.05,
        noise_mau=0.016,
        pressure_bar=215.0,
        flow_bias=-0.001,
        injector_sd=0.0018,
        wear_rate=1.1,
        first_service_day=95,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Chamber:
    """One stability chamber: set points and which months a lot is pulled from it."""

    chamber_id: str
    storage_condition: str
    temperature_c: float
    humidity_pct: float
    pull_months: tuple[int, ...]


CHAMBERS: Final = (
    Chamber(chamber_id="CH-25", storage_condition="25C/60RH", temperature_c=25.0, humidity_pct=60.0, pull_months=(3, 6, 9, 12)),
    Chamber(chamber_id="CH-30", storage_condition="30C/65RH", temperature_c=30.0, humidity_pct=65.0, pull_months=(3, 6, 9, 12)),
    Chamber(chamber_id="CH-40", storage_condition="40C/75RH", temperature_c=40.0, humidity_pct=75.0, pull_months=(1, 3, 6)),
)

ACTIVATION_A_KJ_PER_MOL: Final = 90.0
"""Hydrolysis: main compound to IMP-A."""
ACTIVATION_B_KJ_PER_MOL: Final = 72.0
"""Oxidation: main compound to IMP-B."""
HUMIDITY_PER_PCT: Final = 0.018

CUSTOMERS: Final = ("Halden Pharma", "Ravnsborg Health", "Tessaro Generics")
SITES: Final = ("Plant North", "Plant East")
