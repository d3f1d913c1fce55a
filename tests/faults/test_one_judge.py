"""One idea of what is fit to be judged: what one command refuses, no other one passes."""

from dataclasses import replace

import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, make_run, make_scores
from w2v_core.records.store import Session, StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.judge import judge
from w2v_core.verdict.paired import Pair, judge_pairs
from w2v_core.verdict.relative import compare

LARGE = make_scores(utterances=100, words=50, speakers=20)


def runs(first, *, count=5, **changes):
    return [make_run(first + i, sd=0.003, scores=LARGE, **changes) for i in range(count)]


def flat(many):
    return [record for one in many for record in one]


def copies(one, count):
    """A run under ``count`` names: the same rounds, another id and another night."""
    nights = runs(50, count=count)
    return [
        tuple(
            replace(record, run_id=night[i].run_id, created_utc=night[i].created_utc)
            for i, record in enumerate(one)
        )
        for night in nights
    ]


def test_five_renamed_copies_of_a_run_are_no_release():
    """D4: copies narrow every interval; the gate refuses them, and so does a comparison."""
    found = compare(flat(runs(0)), flat(copies(make_run(20, scores=LARGE), 5)))

    assert found.exit_code == 3
    assert "a copied record" in " ".join(found.cells[0].reasons)


def test_a_run_of_the_reference_renamed_is_no_release():
    a = runs(0)
    found = compare(flat(a), flat(copies(a[0], 5)[:1]))

    assert found.exit_code == 3
    assert "a copied record" in " ".join(found.cells[0].reasons)


def flaws():
    """Ways in which a run is unfit: its records, its session, and what is said."""
    good = make_run(40, sd=0.003, scores=LARGE)
    first = good[0]

    def with_first(**changes):
        return (replace(first, **changes), *good[1:])

    parallel = Session(xdist=True)
    yield "invalid", with_first(valid=False, invalid_reasons=("parity",)), None, "parity"
    yield "simulated", with_first(device_name="simulated"), None, "simulated"
    yield "failed", with_first(failed=("utt-0001",)), None, "utterances failed"
    yield "captures", with_first(captures_timed=1), None, "graph captures"
    yield "fallback", with_first(cpu_fallbacks_timed=2), None, "fallbacks to the host"
    yield "rtfx", with_first(rtfx=first.rtfx * 2), None, "rtfx is"
    yield "wer", with_first(wer=0.0), None, "wer is"
    yield "no-rounds", with_first(rounds_s=()), None, "zero rounds"
    yield "duplicate", (*good, first), None, "duplicate cell"
    yield "other-set", with_first(num_utterances=99), None, "utterances are scored"
    yield (
        "other-weights",
        with_first(environment={**ENVIRONMENT, "checkpoint_sha256": "ef"}),
        None,
        ("changed parameter checkpoint"),
    )
    yield "xdist", good, parallel, "xdist was on"


FLAWS = [pytest.param(*rest, id=name) for name, *rest in flaws()]


@pytest.mark.parametrize(("flawed", "session", "said"), FLAWS)
def test_every_judge_refuses_what_one_of_them_refuses(flawed, session, said):
    """Gate, comparison and approval speak against the same flaw; pairs have no session."""
    baseline = approve([StoredRun(source=str(i), records=r) for i, r in enumerate(runs(0))])
    gated = judge(flawed, baseline, session=session, max_age=None)
    compared = compare(flat(runs(0)), flawed, sessions=(None, session))

    assert said in " ".join(f.reason for f in gated.findings) + " ".join(
        f.reason for c in gated.cells for f in c.findings
    )
    assert said in " ".join(r for c in compared.cells for r in c.reasons)
    assert compared.verdict != "PASS"
    if session is None:
        pairs = [Pair(a=a, b=b) for a, b in zip(runs(0, count=2), runs(10, count=2), strict=True)]
        paired = judge_pairs([*pairs, Pair(a=make_run(39, sd=0.003, scores=LARGE), b=flawed)])
        assert paired.verdict == "FAIL"
        told = [*paired.findings, *(f for c in paired.cells for f in c.findings)]
        assert said in " ".join(f.reason for f in told)


def test_a_wer_above_its_ceiling_is_judged_for_its_speed_too():
    """D5: WER says that the WER is bad, integrity nothing, throughput what the speed is."""
    worse = make_scores(utterances=100, words=50, speakers=20, errors=[6] * 100)
    baseline = approve([StoredRun(source=str(i), records=r) for i, r in enumerate(runs(0))])
    tonight = [replace(r, limit=None) for r in make_run(40, sd=0.003, scores=worse)]
    known = replace(
        baseline,
        cells={c: tuple(replace(r, limit=None) for r in rs) for c, rs in baseline.cells.items()},
    )
    red = Session(outcomes=dict.fromkeys(CELLS, "failed"))
    found = judge(tonight, known, session=red, max_age=None)

    assert found.by_kind["wer-ceiling"] == "FAIL"
    assert found.by_kind["wer"] == "FAIL"
    assert "integrity" not in found.by_kind
    assert found.by_kind["throughput"] == "PASS"


def test_a_red_test_that_no_ceiling_explains_stays_a_fault():
    baseline = approve([StoredRun(source=str(i), records=r) for i, r in enumerate(runs(0))])
    red = Session(outcomes={CELLS[0]: "failed"})
    found = judge(make_run(40, sd=0.003, scores=LARGE), baseline, session=red, max_age=None)

    assert "its test was failed" in " ".join(found.cell(CELLS[0]).reasons)
