"""What a card loses another one measures, or it fails by id; nothing is lost silently."""

from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.records import make_record
from tests.helpers.shards import part_of
from w2v_core.config import Share
from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.data.sharding import take
from w2v_core.errors import RecordError
from w2v_core.fleet.cards import Card
from w2v_core.fleet.dealing import measure_shards, merged, moved
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.ways import Fleet
from w2v_core.types import Utterance

WHOLE = make_record()
IDS = tuple(s.utterance_id for s in WHOLE.scores)
CORPUS = Corpus(
    spec=parse_dataset("test-clean"),
    utterances=tuple(
        Utterance(
            utterance_id=s.utterance_id,
            waveform=np.zeros(64_000, np.float32),
            reference=s.reference,
            speaker=s.speaker,
        )
        for s in WHOLE.scores
    ),
    expected=IDS,
)


def fleet(cards, ends):
    """A fleet whose processes end as ``ends`` says by (card, try): killed, refused or well."""
    tries = dict.fromkeys(range(cards), 0)

    def run(job, card):
        tries[card.number] += 1
        problem = ends.get((card.number, tries[card.number]), "")
        number, of = map(int, job.share.split("/"))
        ids = take(CORPUS, Share(number=number, of=of)).expected
        record = part_of(WHOLE, ids, number=number, of=of, whole=IDS)
        return Outcome(
            card=str(card),
            folder=Path(job.folder),
            records={} if problem else {WHOLE.cell: record},
            frames={},
            problem=problem,
            refused="in use" in problem,
            share=job.share,
        )

    return Fleet(
        cards=tuple(Card(device="hpu", number=n) for n in range(cards)),
        directory=Path("reports"),
        front_end="fleet",
        options={},
        command="w2v fleet",
        run=run,
        report=lambda _: None,
    )


def measured(made):
    dealing = measure_shards(made)
    (record,) = merged(made, dealing, {WHOLE.dataset: CORPUS})
    return record, dealing


def everything_is_there(record):
    assert [s.utterance_id for s in record.scores] == list(IDS)
    assert record.num_utterances == len(IDS)
    assert record.reference_words == WHOLE.reference_words


def test_cards_that_all_end_well_give_the_whole():
    record, dealing = measured(fleet(3, {}))

    everything_is_there(record)
    assert (record.valid, record.wer, moved(dealing)) == (True, WHOLE.wer, [])


@pytest.mark.parametrize("problem", ["was killed by SIGKILL", "the card is in use"])
def test_a_lost_shard_is_measured_on_another_card_and_the_record_says_so(problem):
    record, dealing = measured(fleet(3, {(1, 1): problem}))

    everything_is_there(record)
    assert (record.valid, record.wer) == (True, WHOLE.wer)
    (told,) = moved(dealing)
    assert f"was lost on hpu 1, which {problem}; measured on hpu " in told
    assert told in record.notes


def test_a_card_that_lost_a_shard_gets_no_other():
    ends = {(0, 1): "in use", (1, 1): "was killed by SIGKILL"}
    record, dealing = measured(fleet(3, ends))

    assert [o.card for lost in dealing.lost.values() for o in lost] == ["hpu 0", "hpu 1"]
    assert {o.card for o in dealing.done.values()} == {"hpu 2"}
    assert record.valid


def test_a_refusal_is_no_try():
    """A busy card has not seen the utterances: after it a shard may still be lost and found."""
    made, ends = fleet(4, {}), iter(["the card is in use", "was killed by SIGKILL", ""])

    def run(job, card):
        outcome = made.run(job, card)
        problem = next(ends) if job.share == "1/4" else ""
        records = {} if problem else outcome.records
        return replace(outcome, records=records, problem=problem, refused="in use" in problem)

    record, dealing = measured(replace(made, run=run))

    everything_is_there(record)
    assert record.valid
    assert len(dealing.lost[1]) == 2


def test_a_shard_that_two_cards_lose_fails_by_id():
    """Whoever measures the first shard is killed, as by an utterance that no card can take."""
    made = fleet(4, {})

    def run(job, card):
        outcome = made.run(job, card)
        if job.share != "1/4":
            return outcome
        return replace(outcome, records={}, problem="was killed by SIGKILL")

    record, dealing = measured(replace(made, run=run))

    everything_is_there(record)
    assert not record.valid
    assert record.failed == take(CORPUS, Share(number=1, of=4)).expected
    assert record.invalid_reasons[0].startswith("accounting: 3 utterances failed; first utt-0000")
    words = {s.utterance_id: s.reference_words for s in record.scores}
    assert record.deletions == sum(words[i] for i in record.failed)
    assert len(dealing.lost[1]) == 2


def test_no_card_at_all_is_an_error_that_says_why():
    with pytest.raises(RecordError, match="no card measured a shard; hpu 0: it is in use"):
        measured(fleet(1, {(0, 1): "it is in use"}))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.data())
def test_whatever_is_lost_every_id_is_there_once(cards, data):
    """Any mix of kills and refusals, of any card at any of its tries, in any thread's order."""
    kinds = st.sampled_from(["", "", "was killed", "in use"])
    ends = {(n, t): data.draw(kinds) for n in range(cards) for t in range(1, 4)}
    made = fleet(cards, ends)
    dealing = measure_shards(made)
    if not dealing.done:
        return
    (record,) = merged(made, dealing, {WHOLE.dataset: CORPUS})

    everything_is_there(record)
    assert record.valid == (not record.failed)
    kept = replace(record, failed=())
    right = {s.utterance_id: s for s in WHOLE.scores}
    assert all(
        s.hypothesis == right[s.utterance_id].hypothesis
        for s in kept.scores
        if s.utterance_id not in record.failed
    )


def test_cards_measure_at_the_same_time():
    """Each waits for the other: one after another they would wait for ever."""
    both = Barrier(2, timeout=30)
    made = fleet(2, {})

    def run(job, card):
        both.wait()
        return made.run(job, card)

    record, _ = measured(replace(made, run=run))

    everything_is_there(record)
