"""The absolute WER ceilings, as data: published value plus stated tolerance. No torch here.

A ceiling holds for a whole set only: a set cut by ``--limit`` has another WER by construction, and
a set without a published value has nothing to be compared with. Both get :class:`NoThreshold` with
the reason, which a judge shows instead of passing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ROUNDING = 1e-9  # fraction; far below one word in the largest set, above float64 noise

_GOLDEN = "golden hypotheses of the plain Hugging Face float32 batch-1 forward, same checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The highest WER that one (model, dataset, dtype) may have."""

    published: float
    """Published WER, or that of the checkpoint's own goldens; a fraction."""
    tolerance: float
    """Allowed above the published value, a fraction (0.001 is 0.1 points)."""
    source: str
    """Where the published value stands, in words."""

    @property
    def ceiling(self) -> float:
        """The highest WER that passes, a fraction."""
        return self.published + self.tolerance

    def admits(self, wer: float) -> bool:
        """Say whether ``wer`` is at or under the ceiling, float64 rounding aside."""
        return wer <= self.ceiling + _ROUNDING

    def __str__(self) -> str:
        """Return for example ``3.5 % (published 3.4 % + 0.1 points)``."""
        return (
            f"{self.ceiling * 100:.4g} % "
            f"(published {self.published * 100:.4g} % + {self.tolerance * 100:.3g} points)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoThreshold:
    """There is no absolute verdict, and why; never read as a pass."""

    reason: str


PUBLISHED: Mapping[tuple[str, str], tuple[float, str]] = {
    ("base", "test-clean"): (0.034, "model card of facebook/wav2vec2-base-960h"),
    ("base", "test-other"): (0.086, "model card of facebook/wav2vec2-base-960h"),
    ("large", "test-clean"): (0.019, "model card of facebook/wav2vec2-large-960h-lv60-self"),
    ("large", "test-other"): (0.039, "model card of facebook/wav2vec2-large-960h-lv60-self"),
}
"""Greedy WER by model and dataset, a fraction, and where the authors publish it."""

# (model, dataset, dtype) -> tolerance above the published WER, a fraction.
# Published values have two or three digits, so half a unit of the last one is rounding (0.05 points
# for 3.4 %); the rest is what a change of kernels moves. bfloat16 adds the 40 or so words of 52,576
# that change against float32, 0.05 points if all went the wrong way. A
# canary's own goldens hold its value, hence not one edit more in float32.
TOLERANCES: Mapping[tuple[str, str, str], float] = {
    ("base", "test-clean", "float32"): 0.001,
    ("base", "test-clean", "bfloat16"): 0.0015,
    ("large", "test-clean", "float32"): 0.001,
    ("large", "test-clean", "bfloat16"): 0.0015,
    ("canary-base", "canary-speech", "float32"): 0.0,
    ("canary-base", "canary-speech", "bfloat16"): 0.005,
    ("canary-large", "canary-speech", "float32"): 0.0,
    ("canary-large", "canary-speech", "bfloat16"): 0.005,
}


def ceiling(
    model: str,
    dataset: str,
    dtype: str,
    limit: int | None,
    *,
    forward: str = "exact",
    golden_wer: float | None = None,
) -> Threshold | NoThreshold:
    """Look up the absolute ceiling of a cell.

    Args:
        model: Name in the model catalog.
        dataset: Name in the data catalog.
        dtype: ``float32 | bfloat16``.
        limit: ``--limit`` of the run; a set that was cut has no published WER.
        forward: ``exact | stock``; stock padding leaks into the transcripts of a batch, so its WER
            is reported and not held against a ceiling.
        golden_wer: WER of the checkpoint's golden transcripts over the same utterances, a fraction
            (the record's ``golden_wer``); the published value of a bundled canary.

    Returns:
        The threshold with its published value filled in, or the reason why there is none.
    """
    if limit is not None:
        return NoThreshold(reason=f"a limit of {limit} cuts the set; run all of {dataset}")
    if forward != "exact":
        return NoThreshold(reason=f"the {forward} forward pads as is; its WER is only reported")
    if dataset == "dev-clean-dummy":
        return NoThreshold(reason="no value is published for the 73 utterances of dev-clean-dummy")
    tolerance = TOLERANCES.get((model, dataset, dtype))
    if tolerance is None:
        return NoThreshold(reason=f"no published WER for {model} on {dataset} in {dtype}")
    known = PUBLISHED.get((model, dataset))
    if known is not None:
        published, source = known
    elif golden_wer is not None:
        published, source = golden_wer, _GOLDEN
    else:
        return NoThreshold(reason=f"the record holds no golden WER of {model} on {dataset}")
    return Threshold(published=published, tolerance=tolerance, source=source)
