"""Every cell of model x dtype x dataset x graphs, measured once, makes four claims.

A claim that is denied is one red test, which JUnit names; a cell that cannot be measured at all is
one error, at the first of its tests.
"""

from __future__ import annotations

from w2v_core.records.claims import reasons_against
from w2v_core.records.record import CellRecord
from w2v_core.verdict.ceilings import Threshold


def test_every_utterance_is_accounted_for(measured: CellRecord) -> None:
    """Every utterance of the set is transcribed, or left out by a stated rule, exactly once."""
    assert reasons_against(measured, "accounting") == []


def test_transcripts_meet_the_goldens(golden_reasons: list[str]) -> None:
    """Transcripts and logits are those of the plain Hugging Face forward, within limits."""
    assert golden_reasons == []


def test_wer_is_under_its_ceiling(measured: CellRecord, wer_ceiling: Threshold) -> None:
    """The corpus WER is at most what is published for the checkpoint, plus a stated tolerance."""
    assert measured.wer is not None
    assert wer_ceiling.admits(measured.wer), (
        f"WER {measured.wer:.4%} is above the ceiling of {wer_ceiling}; {wer_ceiling.source}"
    )


def test_steady_state_throughput(measured: CellRecord) -> None:
    """Every timed round did the same work: same transcripts, nothing captured or compiled."""
    assert reasons_against(measured, "steady state") == []
    assert measured.rtfx > 0
