"""A run with something in every section of its page: regressions, drift, stock cells, warnings."""

from dataclasses import replace
from itertools import product

from tests.helpers.records import make_run, make_scores
from w2v_core.records.history_table import Night
from w2v_core.records.record import SERIAL_STAGES, BucketUse
from w2v_core.records.store import StoredRun
from w2v_core.report.page import render_page
from w2v_core.verdict.approve import approve
from w2v_core.verdict.calibrate import simulate_nights
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.judge import judge
from w2v_core.verdict.outcome import AgainstBaseline, CellVerdict, Finding, GateResult
from w2v_core.verdict.run import Run

BASELINE = AgainstBaseline(key={}, signature="0" * 64, approved_utc="2026-01-01T00:00:00Z")
CELLS = tuple(
    "-".join(parts)
    for parts in product(
        ["base", "large"], ["float32", "bfloat16"], ["test_clean"], ["graphs"], ["exact", "stock"]
    )
)
WORDS = ("THE", "QUICK", "BROWN", "FOX", "JUMPS", "OVER", "A", "LAZY", "DOG", "AND", "SLEEPS")
STAGES = dict(zip(SERIAL_STAGES, (0.006, 0.05, 0.003, 0.008), strict=True))
BUCKETS = (
    BucketUse(
        num_frames=220,
        batch_size=8,
        num_batches=4,
        num_utterances=30,
        real_frames=5_970,
        padded_frames=7_040,
    ),
    BucketUse(
        num_frames=400,
        batch_size=8,
        num_batches=2,
        num_utterances=10,
        real_frames=2_900,
        padded_frames=6_400,
    ),
)
NIGHTS = 40
SLOW = "large-bfloat16"


def rich_page():
    """Render the page of the run's last night; the same at every call."""
    return render_page(rich_run())


def page_of(*records, **known):
    """Render the page of some records, and of what is known around them."""
    return render_page(Run(records=records, **known))


def rich_run():
    """Return the run's last night, judged."""
    runs = [StoredRun(source=str(i), records=_night(i)) for i in range(6)]
    baseline = approve(runs, reason="first")
    history = {}
    for night in range(6, NIGHTS):
        for record in _night(night, loss=max(0.0, 0.004 * (night - 30))):
            history.setdefault(record.cell, []).append(Night.of(record))
    tonight = list(_night(NIGHTS, loss=0.05))
    tonight[3] = replace(
        tonight[3], valid=False, invalid_reasons=("3 graph captures in the timed region",)
    )
    first, *rest = tonight[2].rounds_s
    tonight[2] = replace(tonight[2], rounds_s=(first, *rest[:-1], 2.2 * first))
    gate = judge(tonight, baseline, max_age=None, history=history)
    return Run(
        records=tuple(tonight),
        verdict=gate,
        nights=history,
        baseline=baseline,
        calibration=simulate_nights(nights=50, cells=len(CELLS)),
    )


def _night(run, *, loss=0.0):
    """Make one night; stock cells have one more error in every fourth utterance."""
    return tuple(
        _slowed(_scored(record), loss if record.cell.startswith(SLOW) else 0.0)
        for record in make_run(run, cells=CELLS, sd=0.005)
    )


def _slowed(record, loss):
    return replace(
        record,
        rtfx=record.rtfx * (1 - loss),
        rounds_s=tuple(s / (1 - loss) for s in record.rounds_s),
    )


def _scored(record):
    errors = [int(i % 5 == 0) + int(record.forward == "stock" and i % 4 == 1) for i in range(40)]
    blank = make_scores(errors=errors, speakers=10, words=len(WORDS))
    scores = tuple(
        replace(
            score,
            reference=" ".join(WORDS),
            hypothesis=" ".join(_wrong(score.substitutions)),
            latency_s=0.01,
        )
        for score in blank
    )
    words = sum(s.reference_words for s in scores)
    return replace(
        record,
        scores=scores,
        buckets=BUCKETS,
        serial_stage_s=STAGES,
        num_utterances=len(scores),
        limit=len(scores),
        audio_s=sum(s.audio_s for s in scores),
        rounds_s=tuple(sum(s.audio_s for s in scores) / record.rtfx for _ in record.rounds_s),
        substitutions=sum(errors),
        reference_words=words,
        wer=sum(errors) / words,
    )


def _wrong(substitutions):
    words = list(WORDS)
    words[2 : 2 + substitutions] = ["BRAUN", "FOCKS"][:substitutions]
    return words


def verdict_of(verdicts, *, kind="throughput", baseline=BASELINE):
    """Make a verdict from those of its cells."""
    cells = tuple(
        CellVerdict(
            cell=cell, findings=(Finding(kind=kind, verdict=verdict, reason=f"it is {verdict}"),)
        )
        for cell, verdict in verdicts.items()
    )
    return GateResult(cells=cells, findings=(), policy=Policy(), baseline=baseline)
