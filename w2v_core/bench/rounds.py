"""Timed rounds: passes over the whole set, and who times them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from w2v_core.engine.engine import Engine
from w2v_core.progress import Advance
from w2v_core.types import Transcription, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One timed pass over the whole set."""

    transcription: Transcription
    wall_s: float


class TimedPass:
    """One pass over the whole set, for a timer to call."""

    def __init__(self, engine: Engine, utterances: Sequence[Utterance], advance: Advance) -> None:
        self._engine = engine
        self._utterances = utterances
        self._advance = advance

    def __call__(self) -> Transcription:
        """Transcribe the set; blocks until the last transcript."""
        return self._engine.transcribe(self._utterances, record_failures=True)

    def count(self) -> None:
        """Show a pass as done; call it when no clock runs."""
        self._advance(sum(u.audio_s for u in self._utterances))


OnScored = Callable[[Transcription], None]
"""Is handed the scored pass, frame ids included."""
RoundTimer = Callable[[TimedPass], Sequence[Round]]
"""Runs the pass as often as it wants and times each run."""


def time_rounds(rounds: int) -> RoundTimer:
    """Time ``rounds`` passes by the engine's own wall clock; for use without pytest-benchmark."""

    def timer(run: TimedPass) -> Sequence[Round]:
        passes = []
        for _ in range(rounds):
            passes.append(run())
            run.count()
        return [Round(transcription=p, wall_s=p.wall_s) for p in passes]

    return timer
