from __future__ import annotations

import numpy as np
import pytest

from lab_assets.modeling.conformal import LabelThresholds, fit_thresholds, fit_thresholds_by_checkpoint


def test_thresholds_by_hand():
    """Nine passes at scores 1..9 and alpha 0.2: rank ceil(10 x 0.8) = 8; four failures at 6..9: rank ceil(5 x 0.8) = 4."""
    raw = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 6, 7, 8, 9])
    labels = np.array([0.0] * 9 + [1.0] * 4)
    assert fit_thresholds(raw, labels, alpha=0.2) == LabelThresholds(pass_at_most=8.0, fail_at_least=6.0)


def test_too_few_failures_can_never_be_excluded():
    """Three failures, alpha 0.1: nine would be needed."""
    fitted = fit_thresholds(np.arange(23.0), np.array([0.0] * 20 + [1.0] * 3))
    assert fitted.fail_at_least is None
    assert list(fitted.verdicts(np.array([-5.0, 30.0]))) == ["cannot_tell_yet", "likely_fail"]


@pytest.mark.parametrize(
    ("thresholds", "raw", "verdict"),
    [
        (LabelThresholds(pass_at_most=2.0, fail_at_least=1.0), 0.0, "likely_pass"),
        (LabelThresholds(pass_at_most=2.0, fail_at_least=1.0), 1.5, "cannot_tell_yet"),
        (LabelThresholds(pass_at_most=2.0, fail_at_least=1.0), 3.0, "likely_fail"),
        (LabelThresholds(pass_at_most=1.0, fail_at_least=2.0), 1.5, "cannot_tell_yet"),
        (LabelThresholds(pass_at_most=None, fail_at_least=None), 1.5, "cannot_tell_yet"),
    ],
)
def test_verdicts(thresholds, raw, verdict):
    assert thresholds.verdict(raw) == verdict
    assert thresholds.verdicts(np.array([raw]))[0] == verdict


def test_coverage_on_fresh_rows_of_both_outcomes():
    """At alpha 0.1 each outcome is missed in about a tenth of its own rows."""
    generator = np.random.default_rng(0)
    labels = (generator.random(20_000) < 0.2).astype(float)
    raw = generator.normal(size=20_000) + 1.5 * labels
    fitted = fit_thresholds(raw[:10_000], labels[:10_000])
    assert fitted.pass_at_most is not None
    assert fitted.fail_at_least is not None
    passes, fails = raw[10_000:][labels[10_000:] == 0], raw[10_000:][labels[10_000:] == 1]
    assert float(np.mean(passes > fitted.pass_at_most)) == pytest.approx(0.1, abs=0.02)
    assert float(np.mean(fails < fitted.fail_at_least)) == pytest.approx(0.1, abs=0.02)


def test_checkpoints_have_their_own_thresholds():
    raw = np.concatenate((np.arange(20.0), 100 + np.arange(20.0)))
    labels = np.tile([0.0] * 10 + [1.0] * 10, 2)
    fitted = fit_thresholds_by_checkpoint(raw, labels, checkpoints=np.repeat([10, 50], 20), alpha=0.1)
    assert fitted == {
        10: LabelThresholds(pass_at_most=9.0, fail_at_least=10.0),
        50: LabelThresholds(pass_at_most=109.0, fail_at_least=110.0),
    }
    with pytest.raises(ValueError, match="alpha"):
        fit_thresholds(raw, labels, alpha=1.0)
