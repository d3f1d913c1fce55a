"""WER as a report shows it: with its interval, the cost of stock padding, the worst utterances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from w2v_core.errors import UnknownNameError
from w2v_core.records.record import CellRecord, UtteranceScore
from w2v_core.report.charts import MOST_ROWS, Bar, Chart, intervals
from w2v_core.report.views.ranking import Standing
from w2v_core.scoring.significance import MIN_SPEAKERS, matched_pairs
from w2v_core.scoring.text import DEFAULT_RECIPE, find_recipe
from w2v_core.scoring.wer import Piece, align

_LEVEL = 0.95
_MAX_WORDS = 200  # of an alignment; LibriSpeech's longest reference has 77
_WORD_CHARS = 60


class Bad(NamedTuple):
    """An utterance in the cell where it came out worst."""

    cell: str
    score: UtteranceScore
    text_normalisation: str

    @property
    def edits(self) -> int:
        """S + D + I."""
        return self.score.edits

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The first 200 words of reference and hypothesis, aligned under the record's recipe."""
        try:
            recipe = find_recipe(self.text_normalisation)
        except UnknownNameError:
            recipe = DEFAULT_RECIPE
        return align(_words(recipe(self.score.reference)), _words(recipe(self.score.hypothesis)))


class PaddingCost(NamedTuple):
    """What the Hugging Face forward's padding costs in WER, against the exact forward."""

    exact: CellRecord
    stock: CellRecord
    delta: float
    """Stock minus exact, a fraction."""

    @property
    def speed_ratio(self) -> float | None:
        """RTFx of exact over stock; None where the stock cell was not timed."""
        return self.exact.rtfx / self.stock.rtfx if self.stock.rtfx > 0 else None


def wer_chart(order: Sequence[Standing]) -> Chart | None:
    """Place the WER by cell with its interval; None where no cell has references."""
    rows = []
    scored = [c for c in order if c.record.wer is not None]
    for record, label in [(c.record, c.label) for c in scored[:MOST_ROWS]]:  # an interval is slow
        wer = record.wer or 0.0
        low, high = wer_interval(record.scores) or (wer, wer)
        values = (wer * 100, low * 100, high * 100)
        rows.append(Bar(label, values, f"{wer * 100:.2f}", is_bad=not record.valid))
    return intervals(rows, title="Corpus WER by cell with its 95 % interval", axis="WER, %")


def wer_interval(scores: Sequence[UtteranceScore]) -> tuple[float, float] | None:
    """Return the 95 % interval of the corpus WER, fractions; None where nothing can be said.

    Speakers are the units where there are at least eight: their utterances are not independent.
    The standard error is that of a ratio of sums over the units (scoring/significance.py), the
    quantile Student's.
    """
    speakers = {s.speaker for s in scores if s.speaker is not None}
    by_speaker = len(speakers) >= MIN_SPEAKERS
    sums: dict[str, list[int]] = {}
    for score in scores:
        known = by_speaker and score.speaker is not None
        unit = f"speaker {score.speaker}" if known else f"utterance {score.utterance_id}"
        totals = sums.setdefault(unit, [0, 0])
        totals[0] += score.edits
        totals[1] += score.reference_words
    table = np.asarray(list(sums.values()), dtype=np.float64)
    if len(sums) < 2 or table[:, 1].sum() <= 0:
        return None
    estimate = matched_pairs(table[:, 0], table[:, 1])
    quantile = float(special.stdtrit(len(sums) - 1, (1 + _LEVEL) / 2))
    wer, half = float(estimate.delta), quantile * float(estimate.standard_error)
    return max(0.0, wer - half), wer + half


def padding_costs(records: Sequence[CellRecord]) -> list[PaddingCost]:
    """Pair each stock cell with its exact twin, the dearest first."""
    exact = {_twin(r): r for r in records if r.forward == "exact" and r.wer is not None}
    costs = [
        PaddingCost(exact=twin, stock=r, delta=r.wer - twin.wer)
        for r in records
        if r.forward == "stock"
        and r.wer is not None
        and (twin := exact.get(_twin(r))) is not None
        and twin.wer is not None
    ]
    return sorted(costs, key=lambda c: (-c.delta, c.stock.cell))


def worst(records: Sequence[CellRecord], *, most: int = 15) -> list[Bad]:
    """Return the utterances with the most word edits, each once, in its worst cell."""
    by_utterance: dict[tuple[str, str], Bad] = {}
    for record in records:
        for score in record.scores:
            key = (record.dataset, score.utterance_id)
            if score.edits > (by_utterance[key].edits if key in by_utterance else 0):
                by_utterance[key] = Bad(record.cell, score, record.text_normalisation)
    ranking = sorted(by_utterance.values(), key=lambda b: (-b.edits, b.score.utterance_id, b.cell))
    return ranking[:most]


def _words(text: str) -> list[str]:
    return text.split()[:_MAX_WORDS]


def _twin(record: CellRecord) -> tuple[object, ...]:
    return (record.model, record.dtype, record.autocast, record.dataset, record.graphs)
