"""The gate: with ``--baseline``, one item a cell, after all cells are measured."""


def test_gate(gate_cell, gatekeeper, pytestconfig):
    """A cell is no slower and no less accurate than its baseline, and is there at all."""
    gatekeeper.check(gate_cell, rebase=pytestconfig.getoption("--rebase") is not None)
