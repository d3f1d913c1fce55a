"""Interleaved pairs of two installations: the screen, then fresh pairs that have to confirm it.

Both sides run on one card within minutes of each other, so what differs between days and hosts
cancels within a pair; the pair's log ratio is the unit of sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from w2v_core.config import MIN_PAIRS
from w2v_core.records.fingerprint import place
from w2v_core.records.record import CellRecord
from w2v_core.verdict.decide import Decision, Policy, decide_pairs
from w2v_core.verdict.evidence import evidence
from w2v_core.verdict.fitness import unfit_record, unfit_runs
from w2v_core.verdict.judge import rank_cells, refused
from w2v_core.verdict.outcome import CellVerdict, Finding, GateResult, failed, ranked
from w2v_core.verdict.soundness import transcripts_key
from w2v_core.verdict.statistics import Floats
from w2v_core.verdict.wer import wer_findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One run of either side, made one after the other."""

    a: tuple[CellRecord, ...] = field(repr=False)
    """The reference side."""
    b: tuple[CellRecord, ...] = field(repr=False)
    """The side that is judged."""


def judge_pairs(
    screen: Sequence[Pair], confirm: Sequence[Pair] = (), *, policy: Policy | None = None
) -> GateResult:
    """Judge side b of interleaved pairs against side a.

    Args:
        screen: The first pairs, at least two.
        confirm: Fresh pairs, made because the screen did not pass; without them nothing fails for
            its throughput.
        policy: Margins and error rates; the defaults of Policy where it is left out.
    """
    policy = policy if policy is not None else Policy()
    pairs = [*screen, *confirm]
    if len(screen) < MIN_PAIRS or 0 < len(confirm) < MIN_PAIRS:
        reason = f"{len(screen)} + {len(confirm)} pairs; a stage needs at least {MIN_PAIRS}"
        return refused(reason, policy=policy, unusable=True)
    everything = [r for pair in pairs for r in (*pair.a, *pair.b)]
    cells = sorted({r.cell for r in everything})
    if not cells:
        return refused("no record to judge: neither side measured anything", policy=policy)
    run = unfit_runs(everything)
    unfit = {cell: _unfit_pairs(cell, pairs) for cell in cells}
    fit = [cell for cell in cells if not unfit[cell]]
    decision = _decide(screen, confirm, fit, family=len(cells), policy=policy) if fit else None
    wers = wer_findings({c: (_of(pairs[0].a, c), _of(pairs[0].b, c)) for c in fit}, policy=policy)
    verdicts = []
    for cell in cells:
        if decision is None or unfit[cell]:
            verdicts.append(CellVerdict(cell=cell, findings=ranked(unfit[cell])))
            continue
        throughput, speed = evidence(
            decision, fit.index(cell), runs=len(pairs), baseline_runs=0, policy=policy
        )
        wer, paired = wers[cell]
        findings = ranked([speed, *paired])
        verdicts.append(CellVerdict(cell=cell, findings=findings, throughput=throughput, wer=wer))
    return GateResult(cells=tuple(rank_cells(verdicts)), findings=ranked(run), policy=policy)


def log_ratios(pairs: Sequence[Pair], cells: Sequence[str]) -> Floats:
    """Return (cells, pairs) natural logarithms of b's RTFx over a's; every pair has every cell."""
    return np.asarray(
        [[np.log(_of(p.b, c).rtfx / _of(p.a, c).rtfx) for p in pairs] for c in cells],
        dtype=np.float64,
    ).reshape(len(cells), len(pairs))


def _decide(
    screen: Sequence[Pair],
    confirm: Sequence[Pair],
    fit: Sequence[str],
    *,
    family: int,
    policy: Policy,
) -> Decision:
    """Decide the fit cells at the error rate of the whole family."""
    share = Policy(
        margin=policy.margin,
        tolerance=policy.tolerance,
        family_alpha=policy.family_alpha * len(fit) / family,
        wer_margin=policy.wer_margin,
    )
    return decide_pairs(
        log_ratios(screen, fit), log_ratios(confirm, fit) if confirm else None, share
    )


def _unfit_pairs(cell: str, pairs: Sequence[Pair]) -> list[Finding]:
    """Say why a cell's pairs cannot be judged; empty where they can."""
    sides = [(f"{name} {i}", side) for i, p in enumerate(pairs) for name, side in _sides(p)]
    absent = [where for where, side in sides if all(r.cell != cell for r in side)]
    if absent:
        return [
            failed(
                "integrity", f"not measured by side {absent[0]} (of {len(absent)} runs without it)"
            )
        ]
    known = _of(pairs[0].a, cell)
    findings, counted = [], set[int]()
    for where, side in sides:
        record = _of(side, cell)
        key = transcripts_key(record)
        against = unfit_record(record, known=known, recount=key not in counted)
        counted.add(key)
        if place(record.environment) != place(known.environment):
            against.append(failed("integrity", "made on another host or card than the first run"))
        findings += [replace(f, reason=f"side {where}: {f.reason}") for f in against]
    return findings


def _sides(pair: Pair) -> tuple[tuple[str, tuple[CellRecord, ...]], ...]:
    return ("a", pair.a), ("b", pair.b)


def _of(side: Sequence[CellRecord], cell: str) -> CellRecord:
    return next(r for r in side if r.cell == cell)
