"""Shards add up to exactly what one process finds, or are refused by name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.records import make_record, make_scores
from tests.helpers.shards import cut, ids_of
from w2v_core.errors import RecordError
from w2v_core.fleet.merge import merge_runs
from w2v_core.records.store import StoredRun, read_run, write_run_json
from w2v_core.verdict.judge import judge_alone

EXACT = (
    *("num_utterances", "wer", "substitutions", "deletions", "insertions", "reference_words"),
    *("audio_s", "failed", "excluded", "scores", "cell", "limit", "text_normalisation"),
)


def merged(shards):
    (record,) = merge_runs(
        [StoredRun(source=f"run {i}", records=(r,)) for i, r in enumerate(shards)]
    )
    return record


@st.composite
def dealt(draw):
    """A record with failures and exclusions, and its ids dealt out to 1 to 7 shards."""
    count = draw(st.integers(7, 30))
    lengths = draw(st.lists(st.floats(0.1, 35.0), min_size=count, max_size=count))
    errors = draw(st.lists(st.integers(0, 10), min_size=count, max_size=count))
    scores = tuple(
        replace(score, audio_s=length)
        for score, length in zip(make_scores(errors=errors), lengths, strict=True)
    )
    ids = [s.utterance_id for s in scores]
    failed = tuple(sorted(draw(st.sets(st.sampled_from(ids), max_size=3))))
    record = make_record(scores=scores, failed=failed, excluded={"utt-zz": "longer than 60 s"})
    record = replace(record, audio_s=sum(s.audio_s for s in scores if s.utterance_id not in failed))
    of = draw(st.integers(1, 7))
    order = draw(st.permutations(ids))
    return record, [order[n::of] for n in range(of)]


@given(dealt())
def test_whatever_the_shards_they_add_up_to_the_whole(case):
    whole, parts = case
    record = merged(cut(whole, parts))

    assert {name: getattr(record, name) for name in EXACT} == {
        name: getattr(whole, name) for name in EXACT
    }
    assert record.shard is None
    assert len(record.merged) == (len(parts) if len(parts) > 1 else 0)
    assert ids_of(record) == ids_of(whole)


@given(dealt(), st.randoms())
def test_the_order_of_the_runs_says_nothing(case, chance):
    whole, parts = case
    shards = cut(whole, parts)
    shuffled = list(shards)
    chance.shuffle(shuffled)

    one, other = merged(shards), merged(shuffled)

    assert replace(one, run_id="") == replace(other, run_id="")


@given(dealt(), st.lists(st.integers(1, 9999), min_size=7, max_size=7))
def test_clocks_that_differ_between_nodes_change_a_date_and_no_figure(case, years):
    whole, parts = case
    shards = cut(whole, parts)
    apart = [
        replace(r, created_utc=f"{year:04d}-02-03T04:05:06Z")
        for r, year in zip(shards, years, strict=False)
    ]

    one, other = merged(shards), merged(apart)

    assert replace(one, run_id="", created_utc="") == replace(other, run_id="", created_utc="")


@pytest.fixture
def shards():
    record = make_record()
    ids = [s.utterance_id for s in record.scores]
    return cut(record, [ids[0::3], ids[1::3], ids[2::3]])


def refusal(shards):
    with pytest.raises(RecordError) as error:
        merged(shards)
    return str(error.value)


def test_a_missing_shard_is_named_with_its_utterances(shards):
    text = refusal([shards[0], shards[2]])

    assert "of 3 shards 2 is missing, with 4 utterances: utt-0001, utt-0004" in text
    assert "w2v run --shard 2/3" in text


def test_a_shard_that_is_there_twice_is_named_with_both_runs(shards):
    assert "shard 2 of 3 stands in run 1 and in run 3" in refusal([*shards, shards[1]])


def with_shard(record, **changes):
    return replace(record, shard=replace(record.shard, **changes))


def test_an_id_of_two_shards_is_named(shards):
    twice = with_shard(shards[0], ids=(*shards[0].shard.ids, shards[1].shard.ids[0]))

    assert "several shards have 1 utterances: utt-0001" in refusal([twice, *shards[1:]])


def test_an_id_of_no_shard_is_named(shards):
    lacks = with_shard(shards[2], ids=shards[2].shard.ids[1:])

    assert "no shard, or no set, has 1 utterances: utt-0002" in refusal([*shards[:2], lacks])


def test_a_score_from_outside_its_shard_is_named(shards):
    foreign = replace(shards[0], scores=(*shards[0].scores, shards[1].scores[0]))

    assert "holds 1 utterances: utt-0001, not of its shard" in refusal([foreign, *shards[1:]])


def test_shards_of_two_sets_are_named_with_what_only_one_has(shards):
    other = with_shard(shards[1], whole=(*shards[1].shard.whole, "utt-9999"))

    assert "only one of them has 1 utterances: utt-9999" in refusal([shards[0], other, shards[2]])


def test_shards_of_two_jobs_are_refused(shards):
    other = with_shard(shards[1], of=4)

    assert "run 0 is one of 3 shards, run 1 of 4" in refusal([shards[0], other, shards[2]])


def test_a_whole_run_is_no_shard(shards):
    assert "run 3: " in refusal([*shards, make_record(run=1)])
    assert "a whole run, no shard" in refusal([*shards, make_record(run=1)])


@pytest.mark.parametrize(
    ("key", "value"), [("torch", "2.7.0"), ("synapse_build", "9.9"), ("checkpoint_sha256", "cd")]
)
def test_software_that_differs_between_nodes_is_refused_by_name(shards, key, value):
    other = replace(shards[1], environment={**shards[1].environment, key: value})

    text = refusal([shards[0], other, shards[2]])

    assert f"{key} is " in text
    assert value in text
    assert "run 1" in text


def test_what_else_differs_is_noted(shards):
    other = replace(shards[1], environment={**shards[1].environment, "python": "3.12.1"})
    record = merged([shards[0], other, shards[2]])

    assert "python differ" in record.notes[-1]
    assert record.environment["python"] == "3.11.9, 3.12.1"


def test_a_round_is_over_when_its_slowest_shard_is(shards):
    record = merged(shards)

    assert record.rounds_s == shards[2].rounds_s
    assert record.rtfx == pytest.approx(record.audio_s / sorted(record.rounds_s)[2])


def test_an_invalid_shard_makes_the_whole_invalid_and_is_named(shards):
    bad = replace(
        shards[1], valid=False, invalid_reasons=("accounting: 1 utterances failed; first utt-0001",)
    )
    record = merged([shards[0], bad, shards[2]])

    assert not record.valid
    assert record.invalid_reasons == (f"{bad.invalid_reasons[0]} (shard 2 of 3)",)


def test_shards_of_unequal_rounds_are_invalid(shards):
    short = replace(shards[1], rounds_s=shards[1].rounds_s[:3])

    assert (
        "shards have 3 to 5 timed rounds"
        in merged([shards[0], short, shards[2]]).invalid_reasons[0]
    )


def test_the_gate_refuses_a_shard_and_takes_what_is_merged(shards, tmp_path):
    (cell,) = judge_alone([shards[0]]).cells
    assert cell.verdict == "FAIL"
    assert "shard 1 of 3 is not the whole set" in cell.findings[0].reason

    write_run_json(tmp_path, [merged(shards)])
    assert judge_alone(read_run(tmp_path).records).verdict == "PASS"


def test_goldens_add_up(shards):
    known = [
        replace(s, changed_vs_golden=(s.shard.ids[0],), golden_wer=n / s.reference_words)
        for n, s in enumerate(shards)
    ]
    record = merged(known)

    assert record.changed_vs_golden == ("utt-0000", "utt-0001", "utt-0002")
    assert record.golden_wer == 3 / record.reference_words
    assert merged([*known[:2], shards[2]]).golden_wer is None
