"""Sessions of one process do not get in each other's way."""

from __future__ import annotations

import pytest

from lab_assets.compute.session import SessionKeeper, is_gone
from lab_assets.settings import Settings

pytestmark = pytest.mark.spark


def test_ending_one_session_leaves_the_others(spark_url: str, settings: Settings) -> None:
    """``getOrCreate`` hands one session to all: ending it anywhere would end it everywhere."""
    settings.spark_remote = spark_url
    first, second = SessionKeeper(settings), SessionKeeper(settings)
    assert first.session is not second.session
    second.close()
    assert first.session.range(3).count() == 3
    first.close()


def test_an_error_of_the_query_is_no_lost_server(spark_url: str, settings: Settings) -> None:
    settings.spark_remote = spark_url
    keeper = SessionKeeper(settings)
    with pytest.raises(Exception, match="no_such_table") as caught:
        keeper.guard(lambda: keeper.session.sql("select * from no_such_table").collect())
    assert not is_gone(caught.value)
    keeper.close()
