"""Blocking checks compiled from the contracts, one step for each station.

Belongs here: turning counts of broken rules into verdicts. Does not belong here: counting (``lab_assets.stations.quality``).
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from lab_assets.contracts.registry import contract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.station import asset_key

NAME = "contract"


def build_contract_checks(station: str, names: Sequence[str], *, op_tags: Mapping[str, str] | None = None) -> dg.AssetChecksDefinition:
    """Return the contract checks of a station's tables: what depends on them does not start when one fails.

    Args:
        station: Name of the station.
        names: Its tables, ``layer.table``.
        op_tags: Tags of the step.
    """
    specs = [
        dg.AssetCheckSpec(
            NAME, asset=asset_key(name), blocking=True, description="Every row keeps the rules of the contract; keys are unique."
        )
        for name in names
    ]

    @dg.multi_asset_check(specs=specs, name=f"{station}_contracts", op_tags=op_tags)
    def contract_checks(lake: dg.ResourceParam[Lakehouse]) -> Iterable[dg.AssetCheckResult]:
        from lab_assets.stations.quality import violations

        for name in names:
            broken = violations(lake, contract(name))
            yield dg.AssetCheckResult(
                check_name=NAME,
                asset_key=asset_key(name),
                passed=not broken,
                metadata={"broken_rules": broken, "rules_version": contract(name).version},
            )

    return contract_checks
