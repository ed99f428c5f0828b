"""Lots: when they were made, what they truly hold, which samples are taken from them.

Belongs here: the latent truth of material. Does not belong here: measuring it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from lab_assets.simulation.chambers import ChamberHistory
from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.scenarios import Scenarios, add_months
from lab_assets.simulation.world import ASSAY, CHAMBERS, CUSTOMERS, METHODS, PRODUCTS, RELATED, SITES, Product

CAMPAIGN_LOTS = 6
STABILITY_EVERY = 17
COMPLAINT_EVERY = 37
COMPLAINT_AFTER_DAYS = 120
"""Every so many lots one goes on stability."""
LAST_DAYS_WITHOUT_LOTS = 25


@dataclass(frozen=True, kw_only=True)
class Lot:
    """One lot and its latent truth.

    Attributes:
        lot_id: Lot number.
        number: Ordinal over both products, from 1.
        product: What it is.
        campaign: Ordinal of its campaign, from 1.
        customer: Who it was made for.
        site: Where.
        manufactured_at: End of manufacture, UTC.
        batch_size_kg: Size.
        potency_pct: True potency at manufacture, % of label claim.
        impurity_a_pct: True IMP-A at manufacture, %.
        impurity_b_pct: True IMP-B at manufacture, %.
        dissolution_pct: True mean release at 30 min, % of what the tablet holds.
        rate_pct_per_year: Loss of main compound at 25 degC and 60 % RH.
        water_pct: Water content; more of it degrades faster.
        hardness_n: Tablet hardness; harder tablets dissolve more slowly.
        matrix: Amount of tablet matrix that detects, relative.
        on_stability: Whether it is stored in the chambers.
    """

    lot_id: str
    number: int
    product: Product
    campaign: int
    customer: str
    site: str
    manufactured_at: datetime
    batch_size_kg: float
    potency_pct: float
    impurity_a_pct: float
    impurity_b_pct: float
    dissolution_pct: float
    rate_pct_per_year: float
    water_pct: float
    hardness_n: float
    matrix: float
    on_stability: bool


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample and what it truly holds when it is prepared.

    Attributes:
        sample_name: Sample number.
        lot: The lot.
        kind: Why it is tested.
        methods: Tests ordered.
        storage_condition: Storage condition, stability only.
        chamber_id: Chamber, stability only.
        months: Age at the pull, stability only.
        stored_at: Begin of storage, stability only.
        sampled_at: Taken or pulled, UTC.
        retest_of: Sample it repeats.
        potency_pct: True potency.
        impurity_a_pct: True IMP-A.
        impurity_b_pct: True IMP-B.
        patient_initials: Invented initials, complaints only.
    """

    sample_name: str
    lot: Lot
    kind: Literal["release", "stability", "retest", "complaint"]
    methods: tuple[str, ...]
    sampled_at: datetime
    potency_pct: float
    impurity_a_pct: float
    impurity_b_pct: float
    storage_condition: str | None = None
    chamber_id: str | None = None
    months: int | None = None
    stored_at: datetime | None = None
    retest_of: str | None = None
    patient_initials: str | None = None


def _campaign_effect(seed: int, product: Product, campaign: int) -> float:
    """Blend quality of a campaign, standard normal; each product's campaigns follow each other with memory 0.5."""
    level = 0.0
    for number in range(1, campaign + 1):
        shock = float(rng_for(seed, "campaign", product.code, number).normal())
        level = shock if number == 1 else 0.5 * level + np.sqrt(0.75) * shock
    return level


def _make_lot(number: int, *, seed: int, made: datetime, scenarios: Scenarios) -> Lot:
    """Draw one lot.

    Granulation at too much heat and moisture hydrolyses some of the main compound, which shows as IMP-A and IMP-B; a dosing error
    moves main compound against matrix at constant weight. Lots that go on stability are taken from good ones.
    """
    campaign = (number - 1) // CAMPAIGN_LOTS + 1
    product = PRODUCTS[(campaign - 1) % len(PRODUCTS)]
    rng = rng_for(seed, "lot", number)
    on_stability = number % STABILITY_EVERY == 1
    heat = 0.5 * _campaign_effect(seed, product, (campaign + 1) // 2) + np.sqrt(0.75) * rng.normal()
    dosing = product.dosing_sd * rng.normal()
    if on_stability:
        heat, dosing = -0.5 * abs(heat), 0.5 * abs(dosing)
    process_loss = product.process_loss_pct * np.exp(0.6 * heat)
    drift_months = max(scenarios.days_since("drifting_product", made), 0.0) / 30.4 if product is PRODUCTS[0] else 0.0
    water, hardness = 3.0 + 0.45 * rng.normal(), 95.0 + 9.0 * rng.normal()
    slow = 0.75 * (hardness - 95.0) / 9.0 + 0.66 * rng.normal()
    return Lot(
        lot_id=f"{product.prefix}{made:%y}-{number:04d}",
        number=number,
        product=product,
        campaign=campaign,
        customer=CUSTOMERS[int(rng.integers(len(CUSTOMERS)))],
        site=SITES[int(rng.integers(len(SITES)))],
        manufactured_at=made,
        batch_size_kg=round(float(rng.uniform(180, 420)), 1),
        potency_pct=float(product.dosed_pct + dosing - process_loss - 1.0 * drift_months),
        impurity_a_pct=float(product.impurity_a_pct * np.exp(0.2 * rng.normal()) + 0.09 * process_loss),
        impurity_b_pct=float(product.impurity_b_pct * np.exp(0.25 * rng.normal()) + 0.015 * process_loss),
        dissolution_pct=float(product.dissolution_pct - product.dissolution_sd * slow - 0.8 * drift_months),
        rate_pct_per_year=float(product.rate_pct_per_year * np.exp(0.25 * rng.normal() + 0.25 * (water - 3.0))),
        water_pct=float(water),
        hardness_n=float(hardness),
        matrix=float(np.exp(0.004 * rng.normal()) * (1 - 0.01 * dosing * product.drug_load / (1 - product.drug_load))),
        on_stability=on_stability,
    )


def make_lots(n_lots: int, *, seed: int, start: datetime, end: datetime, scenarios: Scenarios) -> list[Lot]:
    """Return the lots of the period, in order of manufacture; campaigns of six, the products in turn.

    Args:
        n_lots: How many.
        seed: Seed of the simulation.
        start: Start of the period, UTC.
        end: End of the period, UTC; the last lots are made 25 days before it, or at half of a shorter period.
        scenarios: ``drifting_product`` changes lots made after its start.
    """
    span = max((end - start) - timedelta(days=LAST_DAYS_WITHOUT_LOTS), (end - start) / 2)
    campaigns = -(-n_lots // CAMPAIGN_LOTS)
    lots: list[Lot] = []
    for number in range(1, n_lots + 1):
        campaign, place = divmod(number - 1, CAMPAIGN_LOTS)
        made = start + span * (campaign / campaigns) + timedelta(hours=10 + 26 * place)
        lots.append(_make_lot(number, seed=seed, made=made.replace(second=0, microsecond=0), scenarios=scenarios))
    return lots


def release_sample(lot: Lot) -> Sample:
    """Return the release sample of a lot, taken 20 hours after manufacture."""
    return Sample(
        sample_name=f"S{lot.manufactured_at:%y}-{lot.number:04d}",
        lot=lot,
        kind="release",
        methods=METHODS,
        sampled_at=lot.manufactured_at + timedelta(hours=20),
        potency_pct=lot.potency_pct,
        impurity_a_pct=lot.impurity_a_pct,
        impurity_b_pct=lot.impurity_b_pct,
    )


def stability_samples(lot: Lot, histories: dict[str, ChamberHistory], *, end: datetime) -> list[Sample]:
    """Return the stability pulls of a lot inside the period, with what the chambers' real climate left of it."""
    stored = lot.manufactured_at + timedelta(days=5)
    pulls: list[Sample] = []
    for chamber in CHAMBERS:
        for months in chamber.pull_months:
            pulled = add_months(stored, months)
            if pulled >= end - timedelta(days=5):
                continue
            years_a, years_b = histories[chamber.chamber_id].exposure(stored, pulled)
            loss = lot.rate_pct_per_year * years_a
            pulls.append(
                Sample(
                    sample_name=f"ST{lot.manufactured_at:%y}-{lot.number:04d}-{chamber.chamber_id[-2:]}-M{months:02d}",
                    lot=lot,
                    kind="stability",
                    methods=(ASSAY, RELATED),
                    storage_condition=chamber.storage_condition,
                    chamber_id=chamber.chamber_id,
                    months=months,
                    stored_at=stored,
                    sampled_at=pulled,
                    potency_pct=lot.potency_pct - loss,
                    impurity_a_pct=lot.impurity_a_pct + lot.product.yield_a * loss,
                    impurity_b_pct=lot.impurity_b_pct + lot.product.yield_b * lot.rate_pct_per_year * years_b,
                )
            )
    return pulls


def complaint_samples(lots: Sequence[Lot], *, seed: int, end: datetime) -> list[Sample]:
    """Return the samples that come back from patients: one of every 37 lots, four months old, kept a little warm."""
    found: list[Sample] = []
    for lot in lots:
        back = lot.manufactured_at + timedelta(days=COMPLAINT_AFTER_DAYS)
        if lot.number % COMPLAINT_EVERY != COMPLAINT_EVERY // 2 or back >= end - timedelta(days=5):
            continue
        loss = lot.rate_pct_per_year * 1.4 * COMPLAINT_AFTER_DAYS / 365.25
        letters = rng_for(seed, "complaint", lot.number).integers(0, 26, 2)
        found.append(
            Sample(
                sample_name=f"C{back:%y}-{lot.number:04d}",
                lot=lot,
                kind="complaint",
                methods=(ASSAY,),
                sampled_at=back,
                potency_pct=lot.potency_pct - loss,
                impurity_a_pct=lot.impurity_a_pct + lot.product.yield_a * loss,
                impurity_b_pct=lot.impurity_b_pct + lot.product.yield_b * loss,
                patient_initials="".join(chr(65 + int(letter)) for letter in letters),
            )
        )
    return found
