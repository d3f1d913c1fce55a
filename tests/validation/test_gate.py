"""THE SUITE's gate, as test_cells.py: with ``--baseline``, one item a cell, last."""

from w2v_core.suite.test_gate import test_gate

__all__ = ["test_gate"]
