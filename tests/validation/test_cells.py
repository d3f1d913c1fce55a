"""THE SUITE's cells, here in a checkout; they live in the package, so that a wheel has them too."""

from w2v_core.suite.test_cells import (
    test_every_utterance_is_accounted_for,
    test_steady_state_throughput,
    test_transcripts_meet_the_goldens,
    test_wer_is_under_its_ceiling,
)

__all__ = [
    "test_every_utterance_is_accounted_for",
    "test_steady_state_throughput",
    "test_transcripts_meet_the_goldens",
    "test_wer_is_under_its_ceiling",
]
