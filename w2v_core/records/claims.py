"""The claims that a measured cell makes of itself, and which of them its reasons deny."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from w2v_core.records.record import CellRecord

Claim = Literal["accounting", "goldens", "steady state"]
CLAIMS: tuple[Claim, ...] = get_args(Claim)


def denied(claim: Claim, reasons: Iterable[str]) -> list[str]:
    """Return the reasons as ``CellRecord.invalid_reasons`` holds them, the claim in front."""
    return [f"{claim}: {reason}" for reason in reasons]


def reasons_against(record: CellRecord, claim: Claim) -> list[str]:
    """Return the record's reasons that deny a claim.

    Reasons that name no claim, as those of earlier versions, deny the steady state, so that none of
    them is lost.
    """
    others = tuple(f"{other}: " for other in CLAIMS if other != claim)
    if claim == "steady state":
        return [r for r in record.invalid_reasons if not r.startswith(others)]
    return [r for r in record.invalid_reasons if r.startswith(f"{claim}: ")]
