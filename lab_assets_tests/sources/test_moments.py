"""Times: each expected value follows from the calendar or from the zone's published rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.sources.core.moments import MomentError, infer_order, known_zone, parse_moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-04T05:06:07Z", "2025-03-04T05:06:07"),
        ("2025-03-04 05:06:07+02:00", "2025-03-04T03:06:07"),
        ("2025-03-04 05:06", "2025-03-04T05:06:00"),
        ("2025-03-04", "2025-03-04T00:00:00"),
        ("2025-03-04T05:06:07.250Z", "2025-03-04T05:06:07.250000"),
        ("19900425154459-0800", "1990-04-25T23:44:59"),
        ("26.05.2017 16:52:02", "2017-05-26T16:52:02"),
        ("7/18/2019 7:45:56 PM", "2019-07-18T19:45:56"),
        ("7/18/2019 12:00:00 AM", "2019-07-18T00:00:00"),
        ("9/17/2018 12:40:16 PM PDT", "2018-09-17T19:40:16"),
        ("11-Jun-2022, 21:43:00", "2022-06-11T21:43:00"),
        ("3. maj 2021 08:00", "2021-05-03T08:00:00"),
        ("15.avg.2021 08:00", "2021-08-15T08:00:00"),
        ("05/05/2025", "2025-05-05T00:00:00"),
    ],
)
def test_spellings(text: str, expected: str) -> None:
    assert parse_moment(text, zone="UTC").utc == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("02/08/2023 17:08:21", "ambiguous_date"),
        ("02/08/23", "ambiguous_date"),
        ("30.02.2025", "bad_date"),
        ("yesterday", "bad_date"),
        ("2025-03-04 25:00", "bad_date"),
        ("13/13/2025", "bad_date"),
        ("7/18/2019 13:00 PM", "bad_date"),
        ("2025-03-04 10:00 XYZ", "bad_date"),
        ("2025-03-04 10:00+19:00", "bad_date"),
        ("3991-01-01", "implausible_date"),
        ("1900-01-01", "implausible_date"),
        ("2025-03-30 02:30", "nonexistent_time"),
    ],
)
def test_refusals(text: str, rule: str) -> None:
    """Clocks in Berlin went from 02:00 to 03:00 on 30 March 2025."""
    with pytest.raises(MomentError) as error:
        parse_moment(text, zone="Europe/Berlin")
    assert error.value.rule == rule


def test_declared_order_decides() -> None:
    assert parse_moment("02/08/2023", zone="UTC", order="dmy").utc.month == 8
    assert parse_moment("02/08/2023", zone="UTC", order="mdy").utc.month == 2


def test_short_name_of_the_assumed_zone() -> None:
    """London has BST in May and GMT in January; Berlin's 02:30 on 26 October 2025 is distinguished by its name."""
    summer = parse_moment("5/15/2025 9:21:47 PM BST", zone="Europe/London", order="mdy")
    assert (summer.utc, summer.zone_known) == (datetime(2025, 5, 15, 20, 21, 47, tzinfo=UTC), True)
    hours = [parse_moment(f"26.10.2025 02:30 {name}", zone="Europe/Berlin").utc.hour for name in ("CEST", "CET")]
    assert hours == [0, 1]
    for text, zone in (("1/15/2025 9:21:47 PM BST", "Europe/London"), ("5/15/2025 9:21:47 PM BST", "Europe/Berlin")):
        with pytest.raises(MomentError, match="declare the zone of the source"):
            parse_moment(text, zone=zone, order="mdy")


def test_hour_that_happens_twice() -> None:
    """Clocks in Berlin went from 03:00 back to 02:00 on 26 October 2025."""
    earlier = parse_moment("2025-10-26 02:30", zone="Europe/Berlin")
    later = parse_moment("2025-10-26 02:30", zone="Europe/Berlin", later=True)
    assert (earlier.utc.hour, earlier.utc.minute, earlier.repeated, earlier.zone_known) == (0, 30, True, False)
    assert later.utc - earlier.utc == timedelta(hours=1)


def test_order_from_all_dates_of_a_writer() -> None:
    assert infer_order(["21/08/2024", "02/08/2023 17:08:21"]) == ("dmy", True)
    assert infer_order(["12/30/2019", "7/8/2019 7:45:36 PM"]) == ("mdy", True)
    assert infer_order(["3/4/2025 2:05:06 PM"]) == ("mdy", True)
    assert infer_order(["10/11/2025 2:05:06 PM"]) == ("mdy", False)
    assert infer_order(["02/08/2023 17:08:21"]) == (None, False)
    assert infer_order(["12/06/2019 11:49:36 PM"]) == (None, False)  # the United States write 12/6/2019
    assert infer_order(["12/06/2019 11:49:36 PM", "13/06/2019 12:11:41 AM"]) == ("dmy", True)
    assert infer_order(["21/08/2024", "08/21/2024"]) == (None, False)


def test_zones_in_headers() -> None:
    assert [known_zone(name) for name in ("UTC", "gmt", "Europe/Berlin", "min", "Mars/Base")] == ["UTC", "UTC", "Europe/Berlin", None, None]
    with pytest.raises(MomentError):
        parse_moment("2025-01-01 10:00", zone="Mars/Base")


@given(st.datetimes(datetime(1971, 1, 1), datetime(2198, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_iso_round_trip(local: datetime, offset_min: int) -> None:
    aware = local.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    moment = parse_moment(aware.isoformat(), zone="Asia/Tokyo")
    assert (moment.utc, moment.zone_known) == (aware, True)


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2199, 1, 1)).map(lambda moment: moment.replace(microsecond=0, fold=0)),  # noqa: DTZ001
    st.sampled_from(["UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_plain_stamps_are_the_zones_own_times(local: datetime, zone: str) -> None:
    """Skipped hours are refused, repeated ones reported, whichever way the stamp is read."""
    instant = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    stamp = local.isoformat(sep=" ")
    if instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != local:
        with pytest.raises(MomentError):
            parse_moment(stamp, zone=zone)
        return
    moment = parse_moment(stamp, zone=zone)
    assert (moment.utc, moment.zone_known) == (instant, False)
    assert moment == parse_moment(stamp.replace("-", "/"), zone=zone)


@pytest.mark.parametrize(
    "text", ["2025-02-30 05:06:07", "2025-03-04 24:00:00", "2025-03-04 05:06:0Z", "2025-W10-4 05:06:07", "2025-03-04x05:06:07"]
)
def test_what_only_looks_like_a_plain_stamp_is_refused(text: str) -> None:
    with pytest.raises(MomentError):
        parse_moment(text, zone="UTC")
