"""The three ways of a fleet: each card for itself, the cards sharing a set, one and all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from w2v_core.config import Share
from w2v_core.fleet.cards import Card
from w2v_core.fleet.frames import Frames, first_difference
from w2v_core.fleet.job import Job, Soak
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.verdict import CardCell
from w2v_core.fleet.weights import weight_differences
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import Finding, GateResult, failed
from w2v_core.verdict.statistics import lower_bound, paired_effects, upper_bound

Runner = Callable[[Job, Card], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The cards, and how a job gets to one of them."""

    cards: tuple[Card, ...]
    directory: Path
    front_end: str
    options: Mapping[str, Any]
    """What the front end was given, see ``Job.options``."""
    command: str
    run: Runner
    """Runs a job on a card; blocks, in whichever thread."""
    report: Callable[[str], None]
    corpora: Mapping[str, str] = field(default_factory=dict)
    """See ``Job.corpora``."""
    rounds: int = 1
    """Timed passes of a measurement."""

    def measure(
        self,
        card: Card,
        place: str,
        *,
        share: Share | None = None,
        cells: tuple[str, ...] = (),
        soak: Soak | None = None,
    ) -> Outcome:
        """Have one card measure; ``place`` is where below the fleet's directory; blocks."""
        job = Job(
            card=str(card),
            folder=str(self.folder(card, place)),
            front_end=self.front_end,
            options={**self.options, "device": card.device},
            command=self.command,
            cpus=card.cpus,
            cells=cells,
            share=None if share is None else str(share),
            corpora=self.corpora,
            rounds=self.rounds,
            soak=soak,
        )
        outcome = self.run(job, card)
        done = f"{len(outcome.records)} cells" if soak is None else "soaked"
        told = outcome.problem or f"{done} in {outcome.wall_s:.0f} s"
        self.report(f"{card}{f' shard {share}' if share else ''}: {told}")
        return outcome

    def folder(self, card: Card, place: str) -> Path:
        """Return where a card's process writes; ``place`` as for ``measure``."""
        return self.directory / "cards" / str(card).replace(" ", "-") / place

    def all_at_once(self, place: str) -> dict[str, Outcome]:
        """Have all cards measure at the same time; blocks."""
        with ThreadPoolExecutor(len(self.cards)) as pool:
            done = pool.map(lambda card: self.measure(card, place), self.cards)
            return {str(card): found for card, found in zip(self.cards, done, strict=True)}


def measure_each(fleet: Fleet, *, runs: int) -> dict[str, list[Outcome]]:
    """Have every card measure every cell, ``runs`` times in fresh processes; blocks."""
    return _by_card(fleet.all_at_once(f"{n}") for n in range(1, runs + 1))


def _by_card(rounds: Iterable[Mapping[str, Outcome]]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for one in rounds:
        for card, outcome in one.items():
            found.setdefault(card, []).append(outcome)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What a suspect of silent data corruption and a neighbour said when asked again."""

    card: str
    neighbour: str
    cell: str
    told: str


def measure_again(fleet: Fleet, judged: Sequence[CardCell]) -> tuple[Again, ...]:
    """Run the cells of suspects again, in fresh processes there and on a neighbour; blocks."""
    cards = {str(card): card for card in fleet.cards}
    suspects = dict.fromkeys(c.card for c in judged if c.is_suspect)
    found: list[Again] = []
    for suspect in suspects:
        own_cells = [c for c in judged if c.is_suspect and c.card == suspect]
        cells = tuple(c.cell for c in own_cells)
        beside = next((c.card for c in judged if c.cell in cells and c.card not in suspects), None)
        if beside is None:
            continue
        fleet.report(f"{suspect} and {beside} again: frame ids or weights differ")
        with ThreadPoolExecutor(2) as pool:
            asked = [
                pool.submit(fleet.measure, cards[c], "again", cells=cells)
                for c in (suspect, beside)
            ]
        own, other = (future.result() for future in asked)
        found += [
            Again(card=suspect, neighbour=beside, cell=c.cell, told=_told_again(c, own, other))
            for c in own_cells
        ]
    return tuple(found)


def result_of(
    judged: Sequence[CardCell], again: Sequence[Again], lost: Sequence[Finding] = ()
) -> GateResult:
    """Return the verdict over all cards, and what was found when some were asked again."""
    cells = tuple(sorted((c.verdict for c in judged), key=lambda c: c.verdict != "FAIL"))
    told = tuple(failed("integrity", f"again: {a.cell}: {a.told}") for a in again)
    return GateResult(cells=cells, findings=(*lost, *told), policy=Policy())


def _told_again(suspected: CardCell, own: Outcome, other: Outcome) -> str:
    """Say which of two cards is wrong, by the neighbour."""
    problem = own.problem or other.problem
    if problem:
        return f"nothing, as {own.card if own.problem else other.card} {problem}"
    told = [_told_ids(suspected, own, other)] if suspected.wrong else []
    told += [_told_weights(suspected, own, other)] if suspected.altered else []
    return "; ".join(told)


def _told_weights(suspected: CardCell, own: Outcome, other: Outcome) -> str:
    """Compare what fresh processes loaded, by the digest that the suspect's should have been."""
    first = suspected.altered[0]
    norm, loaded = other.weights[suspected.cell], own.weights[suspected.cell]
    if norm.digests.get(first.tensor) != first.others:
        return f"{other.card} itself loads another {first.tensor}: neither is to be trusted"
    differs = weight_differences(own.card, loaded, norm)
    if not differs:
        return (
            f"a fresh process of {own.card} loads the weights that {other.card} loads: what was "
            "altered was in the memory of the one before"
        )
    return f"a fresh process of {own.card} loads other weights than {other.card}: {differs[0]}"


def _told_ids(suspected: CardCell, own: Outcome, other: Outcome) -> str:
    """Compare the ids, by the neighbour's, which the majority had before."""
    first = suspected.wrong[0]
    norm, ids = other.frames[suspected.cell], own.frames[suspected.cell]
    differs = {i: f for i, f in ids.items() if i in norm and not np.array_equal(f, norm[i])}
    if not differs:
        return f"{own.card} now agrees with {other.card}: a passing fault of {own.card}"
    if not _has(norm, first.utterance_id, first.frame, first.others):
        return f"{other.card} itself differs from what it had before: neither is to be trusted"
    name = first.utterance_id if first.utterance_id in differs else min(differs)
    again = first_difference(own.card, name, differs[name], norm[name])
    same = again == first
    return (
        f"{own.card} differs {'alike' if same else 'otherwise'}, {again}; {other.card} has the "
        f"others' ids: {own.card} computes wrong{'' if same else ', and not steadily'}"
    )


def _has(frames: Frames, utterance_id: str, frame: int, token: int | None) -> bool:
    ids = frames.get(utterance_id, np.zeros(0, np.int32))
    return (int(ids[frame]) if frame < len(ids) else None) == token


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCost:
    """What a card loses when all measure at the same time."""

    card: str
    cell: str
    alone: float
    """RTFx, geometric mean over the runs."""
    together: float
    ratio: float
    lower: float | None
    """Bounds of the ratio, simultaneous over the cards; None of a single run."""
    upper: float | None


def measure_together(
    fleet: Fleet, *, runs: int
) -> tuple[dict[str, list[Outcome]], dict[str, list[Outcome]]]:
    """Have the cards measure one after another, then all at once, in turns; blocks."""
    alone, together = [], []
    for n in range(1, runs + 1):
        alone.append({str(c): fleet.measure(c, f"{n}-alone") for c in fleet.cards})
        together.append(fleet.all_at_once(f"{n}-together"))
    return _by_card(alone), _by_card(together)


def shared_costs(
    alone: Mapping[str, Sequence[Outcome]], together: Mapping[str, Sequence[Outcome]]
) -> tuple[SharedCost, ...]:
    """Compare each card with itself, run by run."""
    cells = dict.fromkeys(c for runs in alone.values() for o in runs for c in o.records)
    return tuple(cost for cell in cells for cost in _costs(cell, alone, together))


def _costs(
    cell: str, alone: Mapping[str, Sequence[Outcome]], together: Mapping[str, Sequence[Outcome]]
) -> list[SharedCost]:
    logs: dict[str, list[tuple[float, float]]] = {}
    for card, runs in alone.items():
        for a, b in zip(runs, together[card], strict=False):
            if cell in a.records and cell in b.records:
                pair = np.log([a.records[cell].rtfx, b.records[cell].rtfx])
                logs.setdefault(card, []).append((float(pair[0]), float(pair[1])))
    runs_each = min((len(v) for v in logs.values()), default=0)
    values = np.asarray([v[:runs_each] for v in logs.values()], dtype=np.float64)
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(logs)
    if runs_each > 1:
        effects, alpha = (
            paired_effects(values[..., 1] - values[..., 0]),
            Policy().family_alpha / len(logs),
        )
        low, high = np.exp(lower_bound(effects, alpha)), np.exp(upper_bound(effects, alpha))
        bounds = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    means = np.exp(values.mean(axis=1)) if logs else values
    return [
        SharedCost(
            card=card,
            cell=cell,
            alone=float(means[i][0]),
            together=float(means[i][1]),
            ratio=float(means[i][1] / means[i][0]),
            lower=bounds[i][0],
            upper=bounds[i][1],
        )
        for i, card in enumerate(logs)
    ]
