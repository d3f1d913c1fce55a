"""Which runs may become a baseline together: the others are left out and named.

A baseline is the usual: a red night, an interrupted one, or one at a third of the speed makes the
noise so wide that a real loss is INCONCLUSIVE for months. What is left may be sound and still say
less than it seems; then the reason has to hold a word for it, and is kept with the approval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from w2v_core.printable import printable, shorten
from w2v_core.records.fields import RELEASE_KEYS
from w2v_core.records.record import CellRecord
from w2v_core.records.store import RED_OUTCOMES, StoredRun
from w2v_core.verdict.fitness import parse_utc, session_reasons, unfit_record
from w2v_core.verdict.robust import FEWEST_CELLS, median, polish
from w2v_core.verdict.statistics import Floats
from w2v_core.verdict.wer import ceiling_finding

_FAR_SDS = 6.0
_FAR_LEAST = 0.05  # log ratio; nearer than 5 % nothing is an outlier
_FEWEST_JUDGED = 4  # of fewer runs nobody can say which is the odd one
_NORMAL_MAD = 1.4826
_ONE_SITTING = timedelta(hours=1)
_MOST_ODD = 0.25  # of the runs, left out for their speed alone
_TOLD_VALUES = 3


class Word(NamedTuple):
    """What a reason has to say, and why."""

    word: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """Runs that may be approved together, and those that may not."""

    runs: tuple[StoredRun, ...]
    left_out: tuple[str, ...]
    """The others, each with why."""
    refused: tuple[str, ...]
    """What is wrong with those that must not be left out."""
    words: tuple[Word, ...]
    """What the reason has to say of those that are kept."""


def screen(runs: Sequence[StoredRun], *, keep: Collection[str] = ()) -> Screened:
    """Leave out runs that are red, invalid, lack cells that most have, or are out of the usual.

    Args:
        runs: Of one kind of machine.
        keep: Sources of runs that are refused rather than left out.
    """
    why = {i: found[0] for i, run in enumerate(runs) if (found := run_problems(run))}
    why |= _other_cells({i: run for i, run in enumerate(runs) if i not in why})
    odd = _outlying({i: run for i, run in enumerate(runs) if i not in why})
    why |= odd
    out = {i: text for i, text in why.items() if runs[i].source not in keep}
    kept = tuple(run for i, run in enumerate(runs) if i not in out)
    words, slow = _words(kept), len(odd.keys() & out.keys())
    if slow > _MOST_ODD * (len(kept) + slow):
        told = f"{slow} of {len(kept) + slow} sound runs are left out for their speed alone"
        words.append(Word("left out", told))
    return Screened(
        runs=kept,
        left_out=tuple(f"{runs[i].source}: {out[i]}" for i in sorted(out)),
        refused=tuple(f"{runs[i].source}: {why[i]}" for i in sorted(why) if i not in out),
        words=tuple(words),
    )


def run_problems(run: StoredRun) -> list[str]:
    """Say what is wrong with a run in itself; empty where nothing is."""
    problems = []
    if run.session is not None:
        red = {c: o for c, o in run.session.outcomes.items() if o in RED_OUTCOMES}
        problems += [f"{cell} was {red[cell]}" for cell in sorted(red)]
        problems += session_reasons(run.session)
    for record in run.records:
        problems += [f"{record.cell}: {reason}" for reason in _record_problems(record)]
    return problems


def _record_problems(record: CellRecord) -> list[str]:
    problems = [finding.reason for finding in unfit_record(record)]
    ceiling = ceiling_finding(record)
    if ceiling is not None and ceiling.verdict == "FAIL":
        problems.append(ceiling.reason)
    return problems


def _other_cells(runs: dict[int, StoredRun]) -> dict[int, str]:
    """Say which runs have not the cells that most have, the larger set among equals."""
    sets = {i: frozenset(r.cell for r in run.records) for i, run in runs.items()}
    if not sets:
        return {}
    usual = max(Counter(sets.values()).items(), key=lambda found: (found[1], len(found[0])))[0]
    told = {}
    for i, cells in sets.items():
        lacks, more = sorted(usual - cells), sorted(cells - usual)
        if lacks:
            told[i] = f"incomplete: it lacks {', '.join(lacks[:_TOLD_VALUES])}"
        elif more:
            told[i] = f"it measured {', '.join(more[:_TOLD_VALUES])} too, which most runs lack"
    return told


def _outlying(runs: dict[int, StoredRun]) -> dict[int, str]:
    """Say which runs are far from the others, as a whole or in a cell: cold, stuck, disturbed."""
    if len(runs) < _FEWEST_JUDGED:
        return {}
    cells = sorted({r.cell for run in runs.values() for r in run.records})
    speeds = [{r.cell: r.rtfx for r in run.records} for run in runs.values()]
    known = np.asarray([[s.get(cell, np.nan) for s in speeds] for cell in cells])
    table = np.log(np.where(known > 0, known, np.nan))
    centre, levels = polish(table[None], separates=len(cells) >= FEWEST_CELLS)
    rest = (table - centre[0][:, None] - levels[0]).T  # (runs, cells)
    shared, own = levels[0] - np.median(levels[0]), rest - median(rest.T)
    all_far, cells_far = _is_far(shared), _is_far(own.T).T
    told = {}
    for place, i in enumerate(runs):
        if all_far[place]:
            told[i] = f"outlying: {_percent(shared[place])} than the other runs in all cells"
            continue
        far = np.flatnonzero(cells_far[place])
        if far.size:
            worst = far[np.abs(own[place, far]).argmax()]
            change = _percent(own[place, worst])
            told[i] = f"outlying: {change} than the other runs in {cells[worst]}"
    return told


def _is_far(values: Floats) -> Floats:
    """Whether (..., runs) values lie beyond six robust deviations, and 5 %, of their median.

    A deviation of few runs may be small by chance: the median over the cells is its least.
    """
    scale = _NORMAL_MAD * median(np.abs(values))
    least = np.maximum(np.nan_to_num(scale), np.nanmedian(scale))
    far = np.abs(values) > np.maximum(_FAR_SDS * least, _FAR_LEAST)[..., None]
    return np.asarray(far)


def _percent(log_ratio: float) -> str:
    change = float(np.expm1(log_ratio)) * 100
    return f"{abs(change):.2g} % {'slower' if change < 0 else 'faster'}"


def _words(runs: Sequence[StoredRun]) -> list[Word]:
    """Return what has to be said of runs that are sound and may still mislead."""
    records = [r for run in runs for r in run.records]
    words = []
    mixed = {"release": sorted({r.release for r in records})}
    mixed |= {n: sorted({str(r.environment.get(n)) for r in records}) for n in RELEASE_KEYS}
    told = [
        f"{name} ({', '.join(printable(shorten(v, 40)) for v in values[:_TOLD_VALUES])})"
        for name, values in mixed.items()
        if len(values) > 1
    ]
    if told:
        words.append(Word("mixed", f"the runs are of mixed {', '.join(told)}"))
    times = [t for r in records if (t := parse_utc(r.created_utc)) is not None]
    span = max(times) - min(times) if times else _ONE_SITTING
    if len(runs) > 1 and span < _ONE_SITTING:
        minutes = span.total_seconds() / 60
        words.append(
            Word(
                "one sitting",
                f"all runs were made within {minutes:.0f} minutes, which say nothing of how days "
                "differ",
            )
        )
    return words
