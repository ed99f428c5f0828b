"""Judging results against specifications, and lots by their results.

Belongs here: pass or fail of a reportable value, the standing of retests, a lot's disposition. Does not belong here: computing the value,
predicting it, or deciding what to do about a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from math import isfinite
from typing import Final, Literal

Verdict = Literal["pass", "fail"]
Disposition = Literal["pass", "fail", "open"]

_NOISE_FREE: Final = Context(prec=12)
"""Twelve significant digits: removes binary noise (0.1 + 0.2) and nothing a laboratory can measure."""


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """One reportable result of a lot.

    Attributes:
        result_id: Identity of the result.
        test: What was tested, such as ``assay/API``; the name shown when it fails.
        verdict: ``pass``, ``fail``, or ``None`` while there is no result.
        retest_of: ``result_id`` of the result this one repeats; ``None`` for an original.
        is_invalidated: Whether a closed OOS investigation with an assignable cause invalidated this result.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    result_id: str
    test: str
    verdict: Verdict | None
    retest_of: str | None = None
    is_invalidated: bool = False


@dataclass(frozen=True, kw_only=True)
class LotDisposition:
    """What a lot's results say together.

    Attributes:
        state: ``fail`` with a standing failure, ``open`` while a required test has no standing result, else ``pass``.
        failing_tests: Tests with a standing failing result, sorted, each once.
        open_tests: Required or begun tests without a standing result, sorted.
    """

    state: Disposition
    failing_tests: tuple[str, ...]
    open_tests: tuple[str, ...]


def round_half_up(value: float, decimals: int) -> float:
    """Round as USP General Notices 7.20 asks: look only at the digit after the last place kept, 5 goes up (in magnitude).

    The value is taken as its decimal text, so 2.675 becomes 2.68 although its binary form lies below.
    """
    exponent = Decimal(1).scaleb(-decimals)
    return float(_decimal(value).quantize(exponent, rounding=ROUND_HALF_UP))


def decimals_of(limit_text: str) -> int:
    """Return the decimals a limit is stated with: 2 for ``0.10``, 0 for ``95``.

    Raises:
        ValueError: the text is not a number.
    """
    try:
        limit = Decimal(limit_text.strip())
    except InvalidOperation:
        raise ValueError(f"{limit_text!r} is not a number") from None
    if not limit.is_finite():
        raise ValueError(f"{limit_text!r} is not a finite number")
    return max(0, -int(limit.as_tuple().exponent))


def judge(value: float, low: float | None = None, high: float | None = None, *, decimals: int | None = None) -> Verdict:
    """Judge a reportable value against its limits; a value equal to a limit passes.

    With ``decimals`` (the places the specification is stated with, see ``decimals_of``) the value is first rounded half up to them
    (USP General Notices 7.20: 0.104 passes "not more than 0.10", 0.105 fails). Without, the stated precision is unknown (a float does not
    tell 0.1 from 0.10), and the unrounded value counts: rounding to fewer places than the specification has would pass a failing
    result, the opposite error is found at review.

    Args:
        value: The reportable value, in the specification's unit.
        low: Lower limit, ``None`` for none.
        high: Upper limit, ``None`` for none.
        decimals: Places of the specification.

    Raises:
        ValueError: the value is not finite, there is no limit, or the limits are crossed.
    """
    limits = [limit for limit in (low, high) if limit is not None]
    if not isfinite(value) or not limits or not all(isfinite(limit) for limit in limits):
        raise ValueError(f"cannot judge {value!r} against low={low!r}, high={high!r}: finite numbers and a limit are needed")
    if low is not None and high is not None and low > high:
        raise ValueError(f"limits are crossed: low {low:g} > high {high:g}")
    reported = _decimal(value if decimals is None else round_half_up(value, decimals))
    if low is not None and reported < _decimal(low):
        return "fail"
    if high is not None and reported > _decimal(high):
        return "fail"
    return "pass"


def lot_disposition(results: Sequence[TestResult], *, required_tests: Sequence[str] = ()) -> LotDisposition:
    """Judge a lot by all its results.

    Every result stands unless an OOS investigation invalidated it: a retest never replaces a failing first result by itself, nor is it
    averaged with it (FDA, Investigating OOS Test Results, May 2022). A test is open when it has no standing verdict: nothing measured yet,
    or everything invalidated and no retest in.

    Args:
        results: All results of the lot, retests and invalidated ones included, in any order.
        required_tests: Tests the specification asks for.
    """
    standing = [result for result in results if not result.is_invalidated and result.verdict is not None]
    failing = {result.test for result in standing if result.verdict == "fail"}
    known = {*required_tests, *(result.test for result in results)}
    unanswered = known - {result.test for result in standing}
    state: Disposition = "fail" if failing else "open" if unanswered or not known else "pass"
    return LotDisposition(state=state, failing_tests=tuple(sorted(failing)), open_tests=tuple(sorted(unanswered)))


def reportable_result(results: Sequence[TestResult], result_id: str) -> TestResult | None:
    """Return the result that stands for one original: itself, or, when it was invalidated, its first standing retest.

    Retests may themselves be invalidated and retested; ``None`` while nothing stands.

    Raises:
        KeyError: there is no such result.
        ValueError: the retest links form a ring.
    """
    by_id = {result.result_id: result for result in results}
    queue, seen = [by_id[result_id]], set[str]()
    while queue:
        result = queue.pop(0)
        if result.result_id in seen:
            raise ValueError(f"retest links of {result_id!r} form a ring")
        seen.add(result.result_id)
        if not result.is_invalidated and result.verdict is not None:
            return result
        queue.extend(sorted((other for other in results if other.retest_of == result.result_id), key=lambda other: other.result_id))
    return None


def _decimal(value: float) -> Decimal:
    """Return a float as the decimal a person would write."""
    return _NOISE_FREE.create_decimal(repr(float(value)))
