"""Shards dealt out to cards; what a card loses another one measures, or it fails by id."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from w2v_core.config import Share
from w2v_core.data.catalog import Corpus
from w2v_core.data.sharding import take
from w2v_core.errors import RecordError
from w2v_core.fleet.cards import Card
from w2v_core.fleet.merge import merge_runs
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.ways import Fleet
from w2v_core.records.claims import denied
from w2v_core.records.record import CellRecord, Shard, UtteranceScore
from w2v_core.records.store import StoredRun
from w2v_core.scoring.wer import corpus_wer, score

MOST_TRIES = 2  # of a shard, on different cards


@dataclass(slots=True)
class Dealing:
    """Which shard is where; cards' threads share it."""

    in_flight: int
    """Shards that a card has; at first each has one."""
    todo: list[int] = field(default_factory=list)
    """Shards that were lost and wait for another card."""
    done: dict[int, Outcome] = field(default_factory=dict)
    lost: dict[int, list[Outcome]] = field(default_factory=dict)
    """By shard, each time that it was lost."""
    out: set[str] = field(default_factory=set)
    """Cards that lost one, and get no other."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def of(self, card: Card) -> list[Outcome]:
        """Return what a card measured and lost."""
        found = [*self.done.values(), *(o for lost in self.lost.values() for o in lost)]
        return [o for o in found if o.card == str(card)]

    def next_of(self, card: Card) -> int | None:
        """Return a shard that another card lost; blocks while one may still come to it."""
        with self._changed:
            while str(card) not in self.out:
                if self.todo:
                    self.in_flight += 1
                    return self.todo.pop(0)
                if not self.in_flight:
                    break
                self._changed.wait()
            self._changed.notify_all()
            return None

    def settle(self, number: int, outcome: Outcome) -> None:
        """Take what became of a shard; a lost one is dealt again, to another card."""
        with self._changed:
            self.in_flight -= 1
            if outcome.problem:
                self.lost.setdefault(number, []).append(outcome)
                self.out.add(outcome.card)
                if sum(not o.refused for o in self.lost[number]) < MOST_TRIES:
                    self.todo.append(number)
            else:
                self.done[number] = outcome
            self._changed.notify_all()


def measure_shards(fleet: Fleet) -> Dealing:
    """Have the cards share each set, a shard a card; blocks."""
    of = len(fleet.cards)
    dealing = Dealing(in_flight=of)

    def serve(card: Card, own: int) -> None:
        number: int | None = own
        while number is not None:
            tried = len(dealing.lost.get(number, [])) + 1
            place = f"shard-{number}-of-{of}" + (f"-{tried}" if tried > 1 else "")
            outcome = fleet.measure(card, place, share=Share(number=number, of=of))
            dealing.settle(number, outcome)
            number = dealing.next_of(card)

    with ThreadPoolExecutor(of) as pool:
        list(pool.map(serve, fleet.cards, range(1, of + 1)))
    return dealing


def merged(fleet: Fleet, dealing: Dealing, corpora: Mapping[str, Corpus]) -> tuple[CellRecord, ...]:
    """Merge the shards; of those that no card measured, every utterance has failed.

    Raises:
        RecordError: no card measured any shard.
    """
    of = len(fleet.cards)
    if not dealing.done:
        first = next((o for lost in dealing.lost.values() for o in lost), None)
        raise RecordError(
            f"no card measured a shard; {first.card if first else 'none'}: "
            f"{first.problem if first else 'no card'}"
        )
    runs = [
        StoredRun(source=f"{o.card} ({o.folder})", records=tuple(o.records.values()))
        for o in dealing.done.values()
    ]
    template = next(iter(dealing.done.values())).records
    for number in sorted(set(range(1, of + 1)) - dealing.done.keys()):
        why = "; ".join(f"{o.card} {o.problem}" for o in dealing.lost.get(number, []))
        share = Share(number=number, of=of)
        lost = [
            lost_record(r, take(corpora[r.dataset], share), share=share, why=why or "no card left")
            for r in template.values()
        ]
        runs.append(StoredRun(source=f"shard {share}", records=tuple(lost)))
    notes = tuple(moved(dealing))
    records = merge_runs(runs, command=fleet.command)
    return tuple(replace(r, notes=(*r.notes, *notes)) for r in records)


def moved(dealing: Dealing) -> list[str]:
    """Say which shards were lost, where, and where they were measured then."""
    return [
        f"shard {number} was lost on {o.card}, which {o.problem}; "
        + (
            f"measured on {dealing.done[number].card}"
            if number in dealing.done
            else "its utterances failed"
        )
        for number, lost in sorted(dealing.lost.items())
        for o in lost
    ]


def lost_record(template: CellRecord, corpus: Corpus, *, share: Share, why: str) -> CellRecord:
    """Make the record of a shard of which nothing came back: every utterance has failed."""
    known = {u.utterance_id: u for u in corpus.utterances if u.reference is not None}
    edits = score({i: u.reference or "" for i, u in known.items()}, {})
    ids = tuple(u.utterance_id for u in corpus.utterances)
    reason = f"{len(ids)} utterances failed; first {ids[0]}: {why}"
    return replace(
        template,
        run_id=f"{template.run_id}-lost-{share.number}",
        num_utterances=len(ids),
        audio_s=0.0,
        wer=corpus_wer(edits),
        substitutions=0,
        deletions=sum(e.deletions for e in edits),
        insertions=0,
        reference_words=sum(e.reference_words for e in edits),
        rounds_s=(),
        buckets=None,
        serial_stage_s=None,
        graph_captures=0,
        failed=ids,
        excluded={e.utterance_id: e.reason for e in corpus.exclusions},
        changed_vs_golden=None,
        golden_wer=None,
        logit_distance=None,
        valid=False,
        invalid_reasons=tuple(denied("accounting", [reason])),
        shard=Shard(number=share.number, of=share.of, ids=corpus.expected, whole=corpus.whole),
        scores=tuple(
            UtteranceScore(
                utterance_id=e.utterance_id,
                speaker=known[e.utterance_id].speaker,
                reference=known[e.utterance_id].reference or "",
                hypothesis="",
                substitutions=0,
                deletions=e.deletions,
                insertions=0,
                reference_words=e.reference_words,
                audio_s=known[e.utterance_id].audio_s,
            )
            for e in edits
        ),
    )
