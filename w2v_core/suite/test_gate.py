"""The gate: with ``--baseline``, one item a cell, after all cells are measured."""

from __future__ import annotations

import pytest

from w2v_core.pytest_gate import Gatekeeper


def test_gate(
    gate_cell: str,
    gatekeeper: Gatekeeper,
    request: pytest.FixtureRequest,
) -> None:
    """A cell is no slower and no less accurate than its baseline, and is there at all."""
    request.node.user_properties.append(("verdict", gatekeeper.verdict(gate_cell)))
    gatekeeper.check(gate_cell, rebase=request.config.getoption("--rebase") is not None)
