"""The oracle's closed forms by hand, and its calibration on simulated injections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from lab_assets.simulation.risk import Analyte, Preparation, oracle_risk
from lab_assets.simulation.truth import oracle_quality

CERTAIN = Preparation(weights=(1.0 - 1e-12, 1e-12), means=(0.0, 0.0), sds=(0.01, 0.01))
API = Analyte(
    name="API", eluted_pct=65.0, log_expected=float(np.log(96.0)), error_sd=0.0, log_observed=float(np.log(94.0)), low=95.0, high=105.0
)


def test_risk_before_elution_is_the_normal_tail() -> None:
    """P(ln X < ln 95) with ln X ~ N(ln 96, 0.01): Phi(ln(95/96) / 0.01) = Phi(-1.0471) = 0.1475."""
    assert oracle_risk(CERTAIN, [API], checkpoint_pct=25) == pytest.approx(0.1475, abs=2e-4)


def test_what_has_eluted_is_known() -> None:
    assert oracle_risk(CERTAIN, [API], checkpoint_pct=75) == 1.0
    assert oracle_risk(CERTAIN, [replace(API, log_observed=float(np.log(99.0)))], checkpoint_pct=75) == pytest.approx(0.0)


def test_two_prior_slips_weigh_in() -> None:
    """0.9 * P(good) + 0.1 * P(slip), each a normal tail."""
    mixed = Preparation(weights=(0.9, 0.1), means=(0.0, -0.04), sds=(0.01, 0.02))
    distance = np.log(95 / 96)
    expected = 0.9 * norm.cdf(distance / 0.01) + 0.1 * norm.cdf((distance + 0.04) / 0.02)
    assert oracle_risk(mixed, [API], checkpoint_pct=10) == pytest.approx(expected, abs=1e-6)


def test_posterior_of_two_equal_variances_halves_the_distance() -> None:
    """Prior N(0, 1) and observation 2 with error sd 1: posterior N(1, 1/2)."""
    prior = Preparation(weights=(0.5, 0.5), means=(0.0, 0.0), sds=(1.0, 1.0))
    posterior = prior.given([(2.0, 1.0)])
    assert posterior.means == pytest.approx((1.0, 1.0))
    assert posterior.sds == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))


def test_an_early_peak_reveals_a_slip() -> None:
    """A matrix peak 4.5 % too small turns a 2 % prior for a slip into near certainty."""
    prior = Preparation(weights=(0.98, 0.02), means=(0.0, -0.045), sds=(0.004, 0.018))
    posterior = prior.given([(-0.045, 0.004)])
    assert posterior.weights[1] > 0.99
    matrix = Analyte(name="EXC-1", eluted_pct=20.0, log_expected=0.0, error_sd=0.004, log_observed=-0.045)
    good = replace(API, log_expected=float(np.log(98.5)))
    assert oracle_risk(prior, [matrix, good], checkpoint_pct=10) < 0.05
    assert oracle_risk(prior, [matrix, good], checkpoint_pct=25) > 0.75


def test_quality_of_a_perfect_and_of_a_constant_oracle() -> None:
    rows = [{"checkpoint_pct": 10, "risk": float(oos), "is_oos": oos} for oos in (True, False, False, True)]
    assert oracle_quality(rows)["10"] == {"roc_auc": 1.0, "average_precision": 1.0, "brier": 0.0}
    constant = [row | {"risk": 0.5} for row in rows]
    assert oracle_quality(constant)["10"] == {"roc_auc": 0.5, "average_precision": 0.5, "brier": 0.25}
