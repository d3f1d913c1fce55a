"""THE SUITE: every cell of model x dtype x dataset x graphs is measured and must be valid."""

from w2v_core.verdict.wer import ceiling_finding


def test_cell(cell, measure):
    """A cell accounts for every utterance, meets its goldens and WER ceiling, in steady state."""
    record = measure(cell)

    assert record.valid, "\n".join(record.invalid_reasons)
    ceiling = ceiling_finding(record)
    assert ceiling is None or ceiling.verdict == "PASS", ceiling.reason
