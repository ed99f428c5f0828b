"""What the tests of this folder share: hand-made rows in a lake of the test's own."""

from __future__ import annotations

import pytest

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets_tests.stations.rows import Put, putting


@pytest.fixture
def put(lakehouse: Lakehouse) -> Put:
    """Append hand-made rows to a table; provenance is filled in where the rows name none."""
    return putting(lakehouse)


@pytest.fixture
def put_spark(spark_lakehouse: Lakehouse) -> Put:
    """The same for a laboratory with Spark."""
    return putting(spark_lakehouse)
