"""Whether a record is sound by itself: complete, consistent, steady, and not of a simulated device.

Every function returns reasons in words; an empty list is a clean bill.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

from w2v_core.printable import shown
from w2v_core.records.cell import parse_cell
from w2v_core.records.packed import Scores
from w2v_core.records.record import CellRecord
from w2v_core.scoring.text import DEFAULT_RECIPE
from w2v_core.scoring.wer import score

SIMULATED = "the device was simulated; a simulated run proves nothing about a card"

_RELATIVE = 1e-6  # of figures that are computed from each other

T = TypeVar("T")


def for_the_last(compute: Callable[[Scores], T]) -> Callable[[Scores], T]:
    """Compute once where the same scores are asked about again: those of neighbours are one."""
    last: tuple[Scores | None, T | None] = (None, None)

    def ask(scores: Scores) -> T:
        nonlocal last
        asked, found = last
        if asked is not scores or found is None:
            found = compute(scores)
            last = (scores, found)
        return found

    return ask


def record_reasons(record: CellRecord, *, recount: bool = True) -> list[str]:
    """Say what makes a record unfit to be judged.

    Args:
        record: The record.
        recount: Align the transcripts anew and compare the edits; about 0.1 s for 2,620 utterances.
    """
    reasons = []
    if not record.valid:
        reasons.append(f"the run was not valid: {'; '.join(record.invalid_reasons) or 'no reason'}")
    if record.is_simulated:
        reasons.append(SIMULATED)
    if record.shard is not None and record.shard.of > 1:
        reasons.append(
            f"shard {record.shard.number} of {record.shard.of} is not the whole set; judge what "
            "w2v merge makes of all shards"
        )
    if record.failed:
        reasons.append(f"{len(record.failed)} utterances failed, first {record.failed[0]}")
    reasons += _identity_reasons(record)
    reasons += _timing_reasons(record)
    reasons += _score_reasons(record)
    if recount and not reasons:
        reasons += _recount_reasons(record)
    return reasons


def steady_state(record: CellRecord) -> list[str]:
    """Say what happened inside the timed region that must not: capture, compile, fall back."""
    counts = {
        "graph captures": record.captures_timed,
        "compilations": record.compilations_timed,
        "fallbacks to the host": record.cpu_fallbacks_timed,
    }
    return [f"{count} {what} inside the timed region" for what, count in counts.items() if count]


def _identity_reasons(record: CellRecord) -> list[str]:
    named = parse_cell(record.cell)
    if named is None:
        return [f"cell {shown(record.cell)} is not model-dtype-dataset-graphs-forward"]
    return [
        f"the cell's name says {name} {said}, the record {held}"
        for name in ("dtype", "autocast", "graphs", "forward")
        if (said := getattr(named, name)) != (held := getattr(record, name))
    ]


def _timing_reasons(record: CellRecord) -> list[str]:
    if not record.rounds_s:
        return ["zero rounds: nothing was timed"]
    figures: Mapping[str, float] = {
        "warm_up_s": record.warm_up_s,
        "rtfx": record.rtfx,
        "audio_s": record.audio_s,
        **{f"rounds_s[{i}]": value for i, value in enumerate(record.rounds_s)},
        **{f"latency_s {name}": value for name, value in record.latency_s.items()},
    }
    odd = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    if odd:
        return [f"not a number: {', '.join(odd)}"]
    if min(record.rounds_s) <= 0 or min(record.latency_s.values(), default=0.0) < 0:
        return ["a round or latency of no or negative length: the clock went backwards"]
    if record.warm_up_s < 0:
        return [f"warm-up took {record.warm_up_s} s: the clock went backwards"]
    rtfx = record.audio_s / median(record.rounds_s)
    if record.rtfx <= 0 or not close(record.rtfx, rtfx):
        return [f"rtfx is {record.rtfx}, but audio over the median round is {rtfx}"]
    return []


def _score_reasons(record: CellRecord) -> list[str]:
    reasons = []
    repeated, sums = _counted(record.scores)
    if repeated:
        reasons.append(f"duplicate utterance ids: {', '.join(repeated[:3])}")
    if record.wer is None:
        return reasons
    if not math.isfinite(record.wer):
        return [*reasons, f"not a number: wer is {record.wer}"]
    if len(record.scores) != record.num_utterances:
        reasons.append(f"{len(record.scores)} of {record.num_utterances} utterances are scored")
    reasons += [
        f"{name} is {total}, but the utterances sum to {summed}"
        for name, summed in sums.items()
        if (total := getattr(record, name)) != summed
    ]
    edits = record.substitutions + record.deletions + record.insertions
    if record.reference_words <= 0 or not close(record.wer, edits / record.reference_words):
        reasons.append(f"wer is {record.wer}, but {edits} edits of {record.reference_words} words")
    return reasons


@for_the_last
def _counted(scores: Scores) -> tuple[list[str], dict[str, int]]:
    """Return the ids that occur twice, and the sums of what is counted."""
    repeated = [i for i, n in Counter(s.utterance_id for s in scores).items() if n > 1]
    names = ("substitutions", "deletions", "insertions", "reference_words")
    return repeated, {name: sum(getattr(s, name) for s in scores) for name in names}


def _recount_reasons(record: CellRecord) -> list[str]:
    if record.text_normalisation != str(DEFAULT_RECIPE):
        return []
    edits = score(
        ((s.utterance_id, s.reference) for s in record.scores),
        ((s.utterance_id, s.hypothesis) for s in record.scores),
    )
    odd = [
        s.utterance_id
        for s, counted in zip(record.scores, edits, strict=True)
        if s.edits != counted.edits
    ]
    return (
        [f"edits of {odd[0]} and {len(odd) - 1} more do not fit their transcripts"] if odd else []
    )


def transcripts_key(record: CellRecord) -> int:
    """Return what the recount depends on, as a number: equal ones need it once."""
    return _key_of(record.scores)


@for_the_last
def _key_of(scores: Scores) -> int:
    return hash(
        tuple(
            (s.utterance_id, s.reference, s.hypothesis, s.substitutions, s.deletions, s.insertions)
            for s in scores
        )
    )


def close(a: float, b: float) -> bool:
    """Whether two figures are the same but for the rounding of what computed them."""
    return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=1e-12)
