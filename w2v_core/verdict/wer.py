"""The WER of a cell: against the other side's hypotheses, and against its absolute ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, groupby

from w2v_core.records.record import CellRecord, UtteranceScore
from w2v_core.scoring.significance import NonInferiority, non_inferiority
from w2v_core.scoring.wer import Piece, align
from w2v_core.verdict.ceilings import NoThreshold, Threshold, ceiling
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import ChangedTranscript, Finding, Wer


def ceiling_of(record: CellRecord) -> Threshold | NoThreshold:
    """Look up the highest WER that the record may have, or why there is none."""
    return ceiling(
        record.model,
        record.dataset,
        record.dtype,
        record.limit,
        forward=record.forward,
        golden_wer=record.golden_wer,
    )


def ceiling_finding(record: CellRecord) -> Finding | None:
    """Hold the WER against its published value; None where nothing is published."""
    threshold = ceiling_of(record)
    if isinstance(threshold, NoThreshold):
        return None
    if record.wer is None:
        reason = f"no WER, but {threshold} is to be held"
        return Finding(kind="wer-ceiling", verdict="FAIL", reason=reason)
    if threshold.admits(record.wer):
        reason = f"WER {record.wer * 100:.4g} % is within the ceiling of {threshold}"
        return Finding(kind="wer-ceiling", verdict="PASS", reason=reason)
    reason = f"WER {record.wer * 100:.4g} % is above the ceiling of {threshold}; {threshold.source}"
    return Finding(kind="wer-ceiling", verdict="FAIL", reason=reason)


def wer_findings(
    pairs: Mapping[str, tuple[CellRecord, CellRecord]], *, policy: Policy
) -> dict[str, tuple[Wer | None, tuple[Finding, ...]]]:
    """Judge the WER of (old, new) records by cell, paired and against the ceilings."""
    alpha = shared_alpha(list(pairs.values()), policy.family_alpha)
    found: dict[str, tuple[Wer | None, tuple[Finding, ...]]] = {}
    for cell, (old, new) in pairs.items():
        absolute = ceiling_finding(new)
        findings = (absolute,) if absolute is not None else ()
        compared = compare_wer(old, new, margin=policy.wer_margin, alpha=alpha)
        if compared is None:
            reason = "no references in common, so no WER to compare"
            lost = old.wer is not None
            missing = Finding(kind="wer", verdict="FAIL" if lost else "INCONCLUSIVE", reason=reason)
            found[cell] = (None, (*findings, missing))
        else:
            found[cell] = (compared[0], (*findings, compared[1]))
    return found


def compare_wer(
    old: CellRecord, new: CellRecord, *, margin: float, alpha: float
) -> tuple[Wer, Finding] | None:
    """Judge the paired difference of two records' WER; None where there are no references.

    Args:
        old: The other side's record, scores included.
        new: The record that is judged, of the same utterances.
        margin: The increase that must not go unseen, a fraction.
        alpha: One-sided error rate of either wrong verdict.

    Returns:
        The evidence and its finding; where the utterances are not the same, the finding fails.
    """
    pairs = _paired(old, new)
    if not pairs or old.wer is None or new.wer is None:
        return None
    found = non_inferiority(
        [a.edits for a, _ in pairs],
        [b.edits for _, b in pairs],
        [a.reference_words for a, _ in pairs],
        [a.speaker for a, _ in pairs],
        margin=margin,
        alpha=alpha,
    )
    changes = changed_transcripts(old, new)
    evidence = Wer(
        wer=new.wer,
        baseline_wer=old.wer,
        delta=found.delta,
        lower=found.lower,
        upper=found.upper,
        p_mapsswe=found.p_mapsswe,
        num_utterances=found.num_utterances,
        num_speakers=found.num_speakers,
        changed=changes,
    )
    if not changes:
        same = f"no transcript of {found.num_utterances} changed: the WER is the other side's"
        return evidence, Finding(kind="wer", verdict="PASS", reason=same)
    return evidence, Finding(kind="wer", verdict=found.outcome, reason=_told(found, len(changes)))


def shared_alpha(pairs: Sequence[tuple[CellRecord, CellRecord]], family_alpha: float) -> float:
    """Return the error rate of one cell out of the family's.

    A cell without a changed error count cannot be found worse, so only the others share the rate:
    where there is no difference, changes for the better and for the worse are alike.
    """
    changed = sum(any(a.edits != b.edits for a, b in _paired(*pair)) for pair in pairs)
    return family_alpha / max(changed, 1)


def changed_transcripts(old: CellRecord, new: CellRecord) -> tuple[ChangedTranscript, ...]:
    """List the utterances whose hypotheses differ, the most new errors first."""
    changes = [
        ChangedTranscript(
            utterance_id=a.utterance_id,
            alignment=align_words(a.hypothesis, b.hypothesis),
            errors_before=a.edits,
            errors_after=b.edits,
        )
        for a, b in _paired(old, new)
        if a.hypothesis != b.hypothesis
    ]
    return tuple(sorted(changes, key=lambda c: (c.errors_before - c.errors_after, c.utterance_id)))


def align_words(old: str, new: str) -> str:
    """Return the words of both, ``[old -> new]`` where they differ, ``~`` for nothing."""
    parts: list[str] = []
    for is_equal, pieces in groupby(align(old.split(), new.split()), key=_is_equal):
        run = list(pieces)
        a = " ".join(chain.from_iterable(p.reference for p in run))
        b = " ".join(chain.from_iterable(p.hypothesis for p in run))
        parts.append(a if is_equal else f"[{a or '~'} -> {b or '~'}]")
    return " ".join(parts)


def _is_equal(piece: Piece) -> bool:
    return piece.operation == "equal"


def _paired(old: CellRecord, new: CellRecord) -> list[tuple[UtteranceScore, UtteranceScore]]:
    others = {s.utterance_id: s for s in new.scores}
    return [(s, others[s.utterance_id]) for s in old.scores if s.utterance_id in others]


def _told(found: NonInferiority, changes: int) -> str:
    return (
        f"{found.reason}; difference {found.delta * 100:+.3g} points "
        f"[{found.lower * 100:+.3g}, {found.upper * 100:+.3g}], MAPSSWE p {found.p_mapsswe:.2g}, "
        f"{changes} of {found.num_utterances} transcripts changed"
    )
