"""What goes into a pass: each id once, waveforms checked, those below one frame answered here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from w2v_core.data.audio import check, scaled
from w2v_core.errors import DataError
from w2v_core.model.checkpoint import Checkpoint
from w2v_core.types import RECEPTIVE_FIELD, Hypothesis, Utterance


class Intake:
    """The utterances of one pass, in the order of the input."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.audio_s: dict[str, float] = {}
        """Seconds by id, of all that were taken in."""
        self.short: dict[str, Hypothesis] = {}
        """The empty hypotheses of those below one frame, by id."""
        self._checkpoint = checkpoint

    def accept(self, utterances: Iterable[Utterance]) -> Iterator[Utterance]:
        """Pass on what has at least one frame, ready to be staged.

        Raises:
            DataError: an id occurs twice, or an utterance is normalised and the checkpoint wants
                raw waveforms.
            AudioError: a waveform cannot be used.
        """
        for utterance in utterances:
            name = utterance.utterance_id
            if name in self.audio_s:
                raise DataError(f"utterance id {name!r} occurs twice; ids must be unique")
            self.audio_s[name] = utterance.audio_s
            if utterance.num_samples >= RECEPTIVE_FIELD:
                yield ready(utterance, self._checkpoint)
            else:
                self.short[name] = Hypothesis(
                    utterance_id=name, text="", num_frames=0, latency_s=0.0
                )


def ready(utterance: Utterance, checkpoint: Checkpoint) -> Utterance:
    """Check a waveform and find how staging must scale it; raises as ``Intake.accept``."""
    if utterance.normalised and not checkpoint.do_normalize:
        raise DataError(
            f"utterance {utterance.utterance_id!r} is normalised, and checkpoint "
            f"{checkpoint.name!r} wants it raw; pass the waveform as it was decoded"
        )
    if checkpoint.do_normalize:
        return scaled(utterance)
    check(utterance)
    return utterance
