"""Measure the planted faults and write the table into the model cards.

`python -m tests.canary.faults [--family base]`, after `goldens`. A fault is caught where
at least one of five checks fails: `ids`, `frames`, `transcripts`, `logits`, `wer`.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tests.canary.architecture import FAMILIES, Family, decode
from tests.canary.evaluate import read_set, word_error_rate
from tests.canary.goldens import CHECKPOINTS, SPEECH, correct_logits, load
from tests.canary.planted import FAULTS, VARIATIONS, Bench, Fault, Output
from w2v_core.errors import CheckpointError
from w2v_core.scoring.goldens import (
    FP32_LOGIT_LIMIT,
    Golden,
    GoldenDifference,
    compare,
    load_golden_set,
    observe,
    sha256_of,
)
from w2v_core.scoring.wer import score
from w2v_core.types import SAMPLE_RATE_HZ, Utterance

LOG = logging.getLogger(__name__)
WER_TOLERANCE = 0.005  # of the WER; a fraction, absolute
BEGIN, END = "<!-- {}: begin, written by faults.py -->", "<!-- {}: end -->"
NONE = "**none**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one fault or variation did to the whole set."""

    name: str
    word_error_rate: float
    changed: int
    """Transcripts that differ, those of low-margin frames included."""
    rms: float
    """Over all logits of utterances with the right number of frames; NaN where there is none."""
    largest: float
    distance: float
    """Largest digest distance of an utterance."""
    caught_by: tuple[str, ...]
    unit_test: str


def checks(comparison: GoldenDifference, *, wer_change: float) -> tuple[str, ...]:
    """Name the checks that fail."""
    failed = {
        "ids": comparison.missing or comparison.extra or comparison.duplicate,
        "frames": comparison.wrong_num_frames,
        "transcripts": comparison.changed,
        "logits": comparison.beyond(FP32_LOGIT_LIMIT),
        "wer": abs(wer_change) > WER_TOLERANCE,
    }
    return tuple(name for name, found in failed.items() if found)


def prepare(family: Family, utterances: Sequence[Utterance]) -> Bench:
    """Load a canary and compute the correct outputs."""
    model = load(family)
    correct = []
    for one in utterances:
        logits = correct_logits(model, one)
        text = decode(logits.argmax(-1))
        correct.append(Output(id=one.utterance_id, logits=logits, hypothesis=text))
    return Bench(
        family=family,
        model=model,
        ids=tuple(one.utterance_id for one in utterances),
        raw=tuple(one.waveform for one in utterances),
        correct=tuple(correct),
    )


def measure(
    fault: Fault, bench: Bench, goldens: dict[str, Golden], utterances: Sequence[Utterance]
) -> Row:
    """Run one fault over the set and apply every check."""
    outputs = fault.run(bench)
    result = compare(
        goldens, ((one.id, observe(one.logits, hypothesis=one.hypothesis)) for one in outputs)
    )
    right = {one.id: one for one in bench.correct}
    before = word_error_rate(utterances, {one.id: one.hypothesis for one in bench.correct})
    after = word_error_rate(utterances, {one.id: one.hypothesis for one in outputs})
    pairs = [(one.logits, right[one.id].logits) for one in outputs]
    gaps = [(left - good).ravel() for left, good in pairs if left.shape == good.shape]
    gap = np.concatenate(gaps).astype(np.float64) if gaps else np.full(1, np.nan)
    return Row(
        name=fault.name,
        word_error_rate=after,
        changed=len(result.changed) + len(result.changed_low_margin),
        rms=float(np.sqrt(np.mean(gap**2))),
        largest=float(np.abs(gap).max()),
        distance=max(result.distances.values()),
        caught_by=checks(result, wer_change=after - before),
        unit_test=fault.unit_test,
    )


def table(rows: Sequence[Row]) -> str:
    """Render rows as Markdown."""
    lines = [
        "| what | WER, % | transcripts changed | logits RMS | logits max | digest | caught by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.name,
            f"{100 * row.word_error_rate:.2f}",
            str(row.changed),
            *(_number(value) for value in (row.rms, row.largest, row.distance)),
            _caught(row),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _caught(row: Row) -> str:
    if row.caught_by:
        return ", ".join(f"`{name}`" for name in row.caught_by)
    return f"{NONE}; unit test `{row.unit_test}`" if row.unit_test else NONE


def _number(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "-"


def results(bench: Bench, utterances: Sequence[Utterance]) -> str:
    """Render the held-out word errors of the correct outputs."""
    references = {one.utterance_id: one.reference or "" for one in utterances}
    edits = score(references, {one.id: one.hypothesis for one in bench.correct})
    substitutions = sum(one.substitutions for one in edits)
    deletions = sum(one.deletions for one in edits)
    insertions = sum(one.insertions for one in edits)
    words = sum(one.reference_words for one in edits)
    total = substitutions + deletions + insertions
    seconds = sum(len(one.waveform) for one in utterances) / SAMPLE_RATE_HZ
    return (
        f"WER **{100 * total / words:.2f} %**: {total} errors in {words} words "
        f"({substitutions} substitutions, {deletions} deletions, {insertions} insertions), "
        f"{len(utterances)} utterances, {seconds:.0f} s."
    )


def replace_block(text: str, *, name: str, content: str) -> str:
    """Replace what stands between the markers of `name` in a model card."""
    begin, end = BEGIN.format(name), END.format(name)
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise CheckpointError(f"the model card lacks the markers {begin!r} and {end!r}")
    return f"{head}{begin}\n\n{content}\n\n{end}{tail}"


def update_card(family: Family) -> None:
    """Measure everything on one canary and rewrite its model card's blocks."""
    folder, utterances = CHECKPOINTS / family, read_set(SPEECH)
    stored = load_golden_set(folder / "goldens.json")
    if stored.model_sha256 != sha256_of([folder / "model.safetensors"]):
        raise CheckpointError(f"{folder}/goldens.json is of other weights; run goldens first")
    bench = prepare(family, utterances)
    blocks = {"results": results(bench, utterances)}
    for name, cases in (("variations", VARIATIONS), ("faults", FAULTS)):
        rows = []
        for case in cases:
            if family in case.families:
                rows.append(measure(case, bench, stored.goldens, utterances))
                LOG.info("%s: %s: %s", family, case.name, ", ".join(rows[-1].caught_by) or "none")
        blocks[name] = table(rows)
    card: Path = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    for name, content in blocks.items():
        text = replace_block(text, name=name, content=content)
    card.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    for family in parser.parse_args(argv).family or FAMILIES:
        update_card(family)


if __name__ == "__main__":
    main()
