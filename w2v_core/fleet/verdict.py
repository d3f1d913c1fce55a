"""Cards against their peers: slower, hotter, wrong, or with another WER. No torch here.

*Slower.* A card's mean log throughput is held against the median of the other cards. Where every
card ran several times, the error is that of runs of one card, pooled over the cards; where each ran
once, it is the spread of the others, and a card that is found slow is no peer of the rest. Bounds
are simultaneous over all cards and cells (Bonferroni). The median of n values varies by pi / 2n of
their variance, for many (Kendall and Stuart, "The Advanced Theory of Statistics", volume 1, 10.9).

*Wrong.* Cards of one kind computed the same batches with the same software, so their frame ids are
equal, bit by bit. One that disagrees with most others is a suspect of silent data corruption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from w2v_core.fleet.frames import Disagreement, disagreements
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.weights import WeightDifference
from w2v_core.records.fingerprint import key
from w2v_core.records.record import CellRecord
from w2v_core.verdict.decide import Policy, Verdict
from w2v_core.verdict.outcome import CellVerdict, Finding, Throughput, Wer, failed, ranked
from w2v_core.verdict.statistics import Effects, Floats, lower_bound, upper_bound
from w2v_core.verdict.wer import wer_findings

HOT_C = 15.0
"""Degrees above the median of the others. Not measured: cards behind others in the air flow are
warmer, by how much is the chassis's."""
FEWEST_PEERS = 2  # others, for a spread


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCell:
    """One card's runs of one cell, and what speaks against them."""

    card: str
    cell: str
    records: tuple[CellRecord, ...] = field(repr=False)
    """A run each."""
    findings: tuple[Finding, ...]
    throughput: Throughput | None = None
    wer: Wer | None = None
    wrong: tuple[Disagreement, ...] = ()
    altered: tuple[WeightDifference, ...] = ()
    """Weights that a soak found otherwise than they should be."""

    @property
    def is_suspect(self) -> bool:
        """Whether the card is a suspect of silent data corruption."""
        return bool(self.wrong or self.altered)

    @property
    def rtfx(self) -> float | None:
        """Geometric mean over the runs."""
        values = [r.rtfx for r in self.records if r.rtfx > 0]
        return float(np.exp(np.mean(np.log(values)))) if values else None

    @property
    def temperature_c(self) -> float | None:
        """Highest over the runs; None where it is not told."""
        return peak_temperature_c(self.records)

    @property
    def verdict(self) -> CellVerdict:
        """As verdict.json holds it."""
        return CellVerdict(
            cell=f"{self.card}: {self.cell}",
            findings=self.findings,
            throughput=self.throughput,
            wer=self.wer,
        )


def judge_cards(
    outcomes: Mapping[str, Sequence[Outcome]], *, policy: Policy | None = None
) -> tuple[CardCell, ...]:
    """Judge the cards of a fleet that each measured the same cells, one outcome a run.

    Cards are peers where they are of one kind with the same software; others are judged apart.
    """
    policy = policy or Policy()
    cells = dict.fromkeys(c for runs in outcomes.values() for o in runs for c in o.records)
    groups = [
        (cell, peers)
        for cell in cells
        for peers in _peers(
            {n: [o for o in r if cell in o.records] for n, r in outcomes.items()}, cell
        )
    ]
    alpha = policy.family_alpha / max(1, sum(len(peers) for _, peers in groups))
    return tuple(
        judged
        for cell, peers in groups
        for judged in _judge_cell(cell, peers, alpha=alpha, policy=policy)
    )


def _peers(ran: Mapping[str, list[Outcome]], cell: str) -> list[dict[str, list[Outcome]]]:
    """Group the cards that can be held against each other."""
    groups: dict[object, dict[str, list[Outcome]]] = {}
    for card, runs in ran.items():
        if runs:
            record = runs[0].records[cell]
            environment = record.environment
            kind = (*key(environment).values(), environment.get("processor"), record.batch_plan)
            groups.setdefault(kind, {})[card] = runs
    return list(groups.values())


def _judge_cell(
    cell: str, peers: Mapping[str, list[Outcome]], *, alpha: float, policy: Policy
) -> list[CardCell]:
    records = {card: tuple(o.records[cell] for o in runs) for card, runs in peers.items()}
    wrong, open_ids = _compared(cell, peers)
    speeds = compare_speeds(
        {card: [r.rtfx for r in found] for card, found in records.items()},
        alpha=alpha,
        policy=policy,
    )
    suspects = {d.card for d in wrong}
    norm = next((c for c in records if c not in suspects), next(iter(records)))
    wers = wer_findings(
        {c: (records[norm][0], found[0]) for c, found in records.items()}, policy=policy
    )
    judged = []
    for card, found in records.items():
        own = tuple(d for d in wrong if d.card == card)
        throughput, speed = speeds[card]
        findings = [speed, *wers[card][1], *_soundness(found), *_heat(card, records)]
        findings += [_suspected(own)] if own else []
        findings += [_open(open_ids)] if open_ids else []
        judged.append(
            CardCell(
                card=card,
                cell=cell,
                records=found,
                findings=ranked(findings),
                throughput=throughput,
                wer=wers[card][0],
                wrong=own,
            )
        )
    return judged


def _compared(
    cell: str, peers: Mapping[str, list[Outcome]]
) -> tuple[list[Disagreement], list[str]]:
    """Compare the frame ids run by run; a run has the same batches on every card."""
    wrong: list[Disagreement] = []
    open_ids: list[str] = []
    for number in range(max(len(runs) for runs in peers.values())):
        at = {c: runs[number].frames for c, runs in peers.items() if number < len(runs)}
        found, undecided = disagreements({c: f[cell] for c, f in at.items() if cell in f})
        wrong += found
        open_ids += undecided
    return wrong, open_ids


def compare_speeds(
    rtfx: Mapping[str, Sequence[float]], *, alpha: float, policy: Policy
) -> dict[str, tuple[Throughput | None, Finding]]:
    """Hold each card's throughput against the others', ``alpha`` each way for each card."""
    logs = {c: np.log(v) for c, v in rtfx.items() if v and min(v) > 0}
    slow: list[str] = []
    while True:  # a card that is found slow is no peer of the rest
        effects = {c: _effect(c, logs, without=slow) for c in logs}
        bounds = {c: float(upper_bound(e, alpha)) for c, e in effects.items() if c not in slow}
        found = [c for c, upper in bounds.items() if upper < policy.log_tolerance]
        if not found or len(logs) - len(slow) <= FEWEST_PEERS:
            break
        slow.append(min(found, key=lambda c: float(effects[c].mean)))
    told = {
        c: _told(e, is_slow=c in slow or c in found, runs=len(logs[c]), alpha=alpha, policy=policy)
        for c, e in effects.items()
    }
    nothing = Finding(kind="throughput", verdict="INCONCLUSIVE", reason="no round was timed")
    return {card: told.get(card, (None, nothing)) for card in rtfx}


def _effect(card: str, logs: Mapping[str, Floats], *, without: Sequence[str]) -> Effects:
    """Estimate a card's log ratio to the median of the others."""
    others = [v for c, v in logs.items() if c != card and c not in without]
    own, runs = logs[card], sum(map(len, others))
    everyone = [*others, own]
    spare = sum(len(v) - 1 for v in everyone)
    if spare:  # cards ran several times
        squares = sum(float(np.square(v - v.mean()).sum()) for v in everyone)
        variance, df = squares / spare, float(spare)
    else:
        df = float(len(others) - 1)
        variance = float(np.var([v[0] for v in others], ddof=1)) if df >= 1 else 0.0
    if not others or df < 1:
        variance, df = float("nan"), 1.0
    factor = 1 / len(own) + (np.pi / 2 / runs if runs else 0.0)
    return Effects(
        mean=np.asarray(own.mean() - (np.median([v.mean() for v in others]) if others else np.nan)),
        standard_error=np.asarray(np.sqrt(variance * factor)),
        df=np.asarray(df),
        sd=np.asarray(np.sqrt(variance)),
    )


def _told(
    effect: Effects, *, is_slow: bool, runs: int, alpha: float, policy: Policy
) -> tuple[Throughput | None, Finding]:
    lower, upper = float(lower_bound(effect, alpha)), float(upper_bound(effect, alpha))
    mean = float(effect.mean)
    verdict: Verdict = (
        "FAIL" if is_slow else "PASS" if lower > policy.log_margin else "INCONCLUSIVE"
    )
    change, low, high = (float(np.expm1(v)) * 100 for v in (mean, lower, upper))
    told = f"throughput {change:+.2f} % [{low:+.2f}, {high:+.2f}] % against the other cards"
    if np.isnan(mean):
        told = "no other card of its kind to hold its throughput against"
    elif np.isnan(lower):
        told = f"throughput {change:+.2f} % against the other cards; too few to tell how cards vary"
    elif verdict == "FAIL":
        told += f"; slower by more than the tolerance of {policy.tolerance * 100:g} %"
    elif verdict == "PASS":
        told += f"; a loss of {policy.margin * 100:g} % is excluded"
    if np.isnan(lower):  # JSON has no such number
        return None, Finding(kind="throughput", verdict=verdict, reason=told)
    throughput = Throughput(
        ratio=float(np.exp(mean)),
        lower=float(np.exp(lower)),
        upper=float(np.exp(upper)),
        run_sd=float(effect.sd),
        runs=runs,
        baseline_runs=0,
        further_runs=None,
        suspicious=False,
    )
    return throughput, Finding(kind="throughput", verdict=verdict, reason=told)


def _soundness(records: Sequence[CellRecord]) -> list[Finding]:
    reasons = dict.fromkeys(reason for r in records for reason in r.invalid_reasons)
    return [failed("integrity", f"not valid: {reason}") for reason in reasons]


def _heat(card: str, by_card: Mapping[str, Sequence[CellRecord]]) -> list[Finding]:
    """Say where a card was hotter than the others, or the only one that was throttled."""
    hottest = {c: peak_temperature_c(records) for c, records in by_card.items()}
    throttled = {
        c: sorted({why for r in rs if r.power is not None for why in r.power.throttled})
        for c, rs in by_card.items()
    }
    found = []
    own, others = hottest[card], [t for c, t in hottest.items() if c != card and t is not None]
    if own is not None and others and own - median(others) >= HOT_C:
        found.append(
            f"hotter: {own:.0f} C where the others' median is {median(others):.0f} C; "
            f"{HOT_C:.0f} are allowed"
        )
    if throttled[card] and not all(throttled.values()):
        found.append(f"its clock was lowered ({', '.join(throttled[card])}), others' were not")
    return [failed("secondary", reason) for reason in found]


def peak_temperature_c(records: Sequence[CellRecord]) -> float | None:
    """Return the highest temperature that was read over the runs of a card."""
    read = [r.power.peak_temperature_c for r in records if r.power is not None]
    return max((t for t in read if t is not None), default=None)


def _suspected(wrong: Sequence[Disagreement]) -> Finding:
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return failed("integrity", f"suspect of silent data corruption: {wrong[0]}{more}")


def _open(ids: Sequence[str]) -> Finding:
    told = f"{len(ids)} utterances have no majority among the cards, first {ids[0]}"
    return Finding(kind="integrity", verdict="INCONCLUSIVE", reason=told)
