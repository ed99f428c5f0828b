"""Whether a model may be offered for approval, and why, in words and numbers.

Belongs here: criteria and judgement. Does not belong here: metrics (``evaluation.py``), approval by people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab_assets.modeling.evaluation import Metrics, PairedDifference


@dataclass(frozen=True, kw_only=True)
class GateCriteria:
    """What a model must reach on the test rows.

    Attributes:
        min_rows: Fewest test rows to judge at all.
        min_positives: Fewest failures among them.
        baseline_margin: Log-loss (nats) by which the model may at most be worse than the logistic baseline when it is
            not better outright: the upper end of the paired 90 % interval must stay below it.
        skill_from_checkpoint: From this share of the run (%) on, the Brier skill must be positive at each checkpoint.
        max_ece: Bound on the expected calibration error. The error of a finite sample is positive even for a perfect
            model, so the model fails only when the lower end of the error's 90 % interval exceeds the bound.
    """

    min_rows: int = 100
    min_positives: int = 10
    baseline_margin: float = 0.01
    skill_from_checkpoint: int = 50
    max_ece: float = 0.05


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """Outcome of the gate.

    Attributes:
        passed: Whether every criterion is met.
        reasons: Each criterion in words with its numbers, met or not.
        failures: The reasons that were not met.
    """

    passed: bool
    reasons: tuple[str, ...]
    failures: tuple[str, ...]


def _judge_size(metrics: Metrics, criteria: GateCriteria) -> list[tuple[bool, str]]:
    return [
        (metrics.rows >= criteria.min_rows, f"{metrics.rows} test rows, at least {criteria.min_rows} needed"),
        (metrics.positives >= criteria.min_positives, f"{metrics.positives} failures among them, at least {criteria.min_positives} needed"),
    ]


def _judge_baseline(model: Metrics, baseline: Metrics, difference: PairedDifference, margin: float) -> tuple[bool, str]:
    better = model.log_loss < baseline.log_loss
    close = difference.high <= margin
    how = "better" if better else f"not worse by more than {margin:g}" if close else f"worse, and possibly by more than {margin:g}"
    return (
        better or close,
        (
            f"log-loss {model.log_loss:.4f} against the logistic baseline's {baseline.log_loss:.4f}: {how} "
            f"(difference {difference.mean:+.4f}, 90 % interval {difference.low:+.4f} to {difference.high:+.4f}, {difference.lots} lots)"
        ),
    )


def _judge_skill(model: Mapping[str, Metrics], from_checkpoint: int) -> list[tuple[bool, str]]:
    judged: list[tuple[bool, str]] = []
    for name, metrics in model.items():
        kind, _, value = name.partition("=")
        if name == "all" or (kind == "checkpoint" and int(value) >= from_checkpoint):
            where = "overall" if name == "all" else f"at {value} % of the run"
            judged.append((metrics.brier_skill > 0, f"Brier skill {where} {metrics.brier_skill:+.4f}, above 0 needed"))
    return judged


def judge(
    *, model: Mapping[str, Metrics], baseline: Mapping[str, Metrics], difference: PairedDifference, criteria: GateCriteria | None = None
) -> GateVerdict:
    """Judge a model by its test metrics.

    Args:
        model: The model's metrics by slice, ``all`` among them.
        baseline: The logistic baseline's metrics by slice on the same rows.
        difference: Paired difference of log-losses, model minus baseline.
        criteria: Limits; defaults when omitted.

    Returns:
        The verdict with every reason.

    Raises:
        KeyError: the slice ``all`` is missing.
    """
    limits = criteria or GateCriteria()
    whole = model["all"]
    judged = _judge_size(whole, limits)
    judged.append(
        (whole.log_loss < whole.base_log_loss, f"log-loss {whole.log_loss:.4f} against the base rate's {whole.base_log_loss:.4f}")
    )
    judged.append(_judge_baseline(whole, baseline["all"], difference, limits.baseline_margin))
    judged.extend(_judge_skill(model, limits.skill_from_checkpoint))
    judged.append(
        (
            whole.ece_low <= limits.max_ece,
            (
                f"calibration error {whole.ece:.4f} (90 % interval {whole.ece_low:.4f} to {whole.ece_high:.4f}), "
                f"lower end at most {limits.max_ece:g} needed"
            ),
        )
    )
    return GateVerdict(
        passed=all(met for met, _ in judged),
        reasons=tuple(f"{'met' if met else 'NOT MET'}: {words}" for met, words in judged),
        failures=tuple(words for met, words in judged if not met),
    )
