"""Cards against each other: the slow, the hot and the wrong one are named, and no other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.records import make_record
from w2v_core.fleet.frames import digest, disagreements, read_frames, write_frames
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.verdict import HOT_C, compare_speeds, judge_cards
from w2v_core.fleet.ways import shared_costs
from w2v_core.records.record import PowerUse
from w2v_core.types import HostTimes, Hypothesis, Transcription
from w2v_core.verdict.decide import Policy

CELL = "base-bfloat16-test_clean-graphs-exact"
POLICY = Policy()
IDS = np.arange(40, dtype=np.int32) % 7


def outcome(card, *, rtfx=1000.0, frames=None, number=0, **changes):
    record = make_record(cell=CELL, run=number, rtfx=rtfx, **changes)
    return Outcome(
        card=card,
        folder=Path(),
        records={CELL: record},
        frames={CELL: {"u1": IDS, "u2": IDS[:9]} if frames is None else frames},
    )


def judged(cards):
    return {c.card: c for c in judge_cards(cards)}


def eight(seed, *, runs=1, slow=(), loss=0.1, sd=0.003):
    """Eight cards; those of ``slow`` lose a fraction of their throughput."""
    noise = np.random.default_rng(seed).normal(0.0, sd, (8, runs))
    return {
        f"hpu {i}": [
            outcome(
                f"hpu {i}",
                number=n,
                rtfx=1000.0 * float(np.exp(noise[i, n])) * (1 - loss * (i in slow)),
            )
            for n in range(runs)
        ]
        for i in range(8)
    }


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("slow", [(), (3,), (0, 6)])
def test_the_slow_cards_are_named_and_no_other(runs, slow):
    found = judged(eight(1, runs=runs, slow=slow, loss=0.2 if runs == 1 else 0.1))
    named = {c for c, j in found.items() if "FAIL" in {f.verdict for f in j.findings}}

    if slow == (0, 6) and runs == 1:  # two among seven others hide in each other's spread
        assert named <= {"hpu 0", "hpu 6"}
    else:
        assert named == {f"hpu {i}" for i in slow}
        rest = {j.verdict.verdict for c, j in found.items() if c not in named}
        assert rest == {"PASS"}, "a slow card is no peer of the rest"


@pytest.mark.parametrize("runs", [1, 3])
def test_false_names_are_as_rare_as_promised(runs):
    """At most 1 % of nights of equal cards name one: 14 of 600 have a chance of 0.3 %."""
    nights = 600
    noise = np.random.default_rng(7).normal(0.0, 0.01, (nights, 8, runs))
    alpha = POLICY.family_alpha / 8
    false = sum(
        any(
            finding.verdict == "FAIL"
            for _, finding in compare_speeds(
                {str(c): list(np.exp(night[c])) for c in range(8)}, alpha=alpha, policy=POLICY
            ).values()
        )
        for night in noise
    )

    assert false <= 13


def test_without_a_spread_nothing_is_decided():
    found = judged({"a": [outcome("a")], "b": [outcome("b", rtfx=500.0)]})

    assert {j.verdict.verdict for j in found.values()} == {"INCONCLUSIVE"}
    assert "too few to tell how cards vary" in found["b"].findings[0].reason


def test_two_cards_that_ran_several_times_can_be_told_apart():
    cards = {
        c: [outcome(c, number=n, rtfx=base * (1 + n / 1000)) for n in range(4)]
        for c, base in (("a", 1000.0), ("b", 800.0))
    }
    found = judged(cards)

    assert found["b"].verdict.verdict == "FAIL"
    assert found["a"].verdict.verdict == "PASS"


def power(temperature_c, throttled=()):
    return PowerUse(
        source="pyhlml",
        reason="",
        mean_w=400.0,
        peak_w=450.0,
        samples=9,
        gaps=0,
        period_s=0.1,
        clock_min_hz=None,
        clock_max_hz=None,
        throttled=throttled,
        peak_temperature_c=temperature_c,
    )


@pytest.mark.parametrize(("above", "is_hot"), [(HOT_C, True), (HOT_C - 1, False)])
def test_a_card_that_is_hotter_than_the_others_is_named(above, is_hot):
    cards = {c: [outcome(c, power=power(60.0 + above * (c == "c")))] for c in "abcd"}
    found = judged(cards)

    told = [f.reason for f in found["c"].findings if f.kind == "secondary"]
    assert bool(told) == is_hot
    assert not any(f.kind == "secondary" for c in "abd" for f in found[c].findings)


def test_a_clock_that_was_lowered_on_one_card_only_is_named():
    cards = {c: [outcome(c, power=power(60.0, ("hlml 0x4",) * (c == "b")))] for c in "abc"}

    assert "its clock was lowered (hlml 0x4)" in str(judged(cards)["b"].findings)


def wrong_at(frame, token=3):
    ids = IDS.copy()
    ids[frame] = token
    return {"u1": ids, "u2": IDS[:9]}


def test_a_card_with_other_frame_ids_is_named_with_utterance_frame_and_both_ids():
    cards = {c: [outcome(c, frames=wrong_at(8) if c == "c" else None)] for c in "abcd"}
    found = judged(cards)

    (wrong,) = found["c"].wrong
    assert (wrong.utterance_id, wrong.frame, wrong.own, wrong.others) == ("u1", 8, 3, 1)
    assert "silent data corruption: u1 frame 8: id 3, the others' 1" in str(found["c"].findings)
    assert not any(found[c].wrong for c in "abd")


def test_two_cards_that_disagree_have_no_majority():
    found = judged({"a": [outcome("a")], "b": [outcome("b", frames=wrong_at(8))]})

    assert not any(j.wrong for j in found.values())
    assert "1 utterances have no majority" in str(found["a"].findings)


def test_cards_of_two_kinds_are_not_held_against_each_other():
    """Another release may round otherwise; that is no corruption."""
    environment = make_record().environment
    cards = {c: [outcome(c)] for c in "abc"}
    cards["d"] = [
        outcome("d", frames=wrong_at(8), rtfx=10.0, environment={**environment, "torch": "3.0"})
    ]
    found = judged(cards)

    assert found["d"].wrong == ()
    assert "no other card of its kind" in str(found["d"].findings)
    assert all(found[c].throughput.ratio == pytest.approx(1.0, rel=0.01) for c in "abc")


@given(
    st.integers(3, 8),
    st.data(),
)
def test_whatever_one_card_changes_it_alone_is_named(count, data):
    bad = data.draw(st.integers(0, count - 1))
    frame = data.draw(st.integers(0, 39))
    token = data.draw(st.integers(0, 30).filter(lambda t: t != IDS[frame]))
    cards = {str(i): {"u": IDS} for i in range(count)}
    ids = IDS.copy()
    ids[frame] = token
    cards[str(bad)] = {"u": ids}
    ((found,), open_ids) = disagreements(cards)

    assert (found.card, found.frame, found.own, found.num_frames) == (str(bad), frame, token, 1)
    assert open_ids == []


def test_a_card_that_lost_frames_differs_at_its_end():
    cards = {"a": {"u": IDS}, "b": {"u": IDS}, "c": {"u": IDS[:30]}}
    ((found,), _) = disagreements(cards)

    assert (found.frame, found.own, found.others, found.num_frames) == (30, None, int(IDS[30]), 10)


def test_frame_ids_are_kept_as_they_were(tmp_path):
    names = ["a/b c", "ü", "empty"]
    scored = Transcription(
        hypotheses=tuple(
            Hypothesis(
                utterance_id=name,
                text="",
                num_frames=n,
                latency_s=0.0,
                frame_ids=IDS[:n],
            )
            for name, n in zip(names, (5, 40, 0), strict=True)
        ),
        failures=(),
        wall_s=1.0,
        audio_s=1.0,
        padded_samples=1,
        real_samples=1,
        host_times=HostTimes(),
    )
    write_frames(tmp_path / "frames.npz", scored)
    found = read_frames(tmp_path / "frames.npz")

    assert list(found) == names
    assert [digest(f) for f in found.values()] == [digest(IDS[:n]) for n in (5, 40, 0)]


def test_the_cost_of_sharing_is_each_cards_own_ratio():
    alone = {c: [outcome(c, number=n, rtfx=1000.0 + n) for n in range(3)] for c in "ab"}
    together = {
        c: [outcome(c, number=n, rtfx=(1000.0 + n) * share) for n in range(3)]
        for c, share in (("a", 0.8), ("b", 0.9))
    }
    costs = {c.card: c for c in shared_costs(alone, together)}

    assert costs["a"].ratio == pytest.approx(0.8, rel=1e-3)
    assert costs["b"].lower <= costs["b"].ratio <= costs["b"].upper


def test_one_run_has_a_ratio_and_no_bounds():
    (cost,) = shared_costs({"a": [outcome("a")]}, {"a": [outcome("a", rtfx=500.0)]})

    assert (round(cost.ratio, 3), cost.lower) == (0.5, None)


def test_an_invalid_record_speaks_against_its_card():
    bad = outcome("b", valid=False, invalid_reasons=("accounting: 1 utterances failed",))
    found = judged({"a": [outcome("a")], "b": [bad], "c": [outcome("c")]})

    assert found["b"].verdict.verdict == "FAIL"
    assert replace(found["b"], records=()).rtfx is None
