"""Requests one by one: every future gets its own answer, whatever batch it was in."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from tests.helpers.engines import make_engine, make_utterance
from w2v_core.config import BatchPlan
from w2v_core.engine.online import Online
from w2v_core.errors import BucketOverflowError, EngineBusyError, EngineError

LENGTHS = [4_000, 8_000, 12_000, 16_000]


@pytest.fixture
def engine():
    engine = make_engine(plan=BatchPlan(kind="optimal", num_buckets=2, batch_size=2))
    engine.warm_up(LENGTHS)
    return engine


def utterances(count):
    return [make_utterance(f"u{i}", LENGTHS[i % 4], seed=i) for i in range(count)]


def served(online, submit):
    """Serve in this thread, which owns the device, while ``submit`` runs in another."""
    with ThreadPoolExecutor(1) as client:

        def all_of_it():
            try:
                return submit()
            finally:
                online.close()

        asked = client.submit(all_of_it)
        online.serve()
        return asked.result()


def test_answers_are_those_of_a_pass_from_many_threads_and_for_an_id_asked_twice(engine):
    batch = utterances(12)
    expected = engine.transcribe(batch).texts
    online = Online(engine, max_wait_s=0.01)

    def submit():
        with ThreadPoolExecutor(4) as threads:
            return [f.result(timeout=60) for f in threads.map(online.submit, [*batch, *batch])]

    answers = served(online, submit)

    assert [(a.utterance_id, a.text) for a in answers] == [*expected.items()] * 2
    assert all(a.latency_s > 0 for a in answers)


def test_what_waits_together_shares_a_batch(engine):
    online = Online(engine, max_wait_s=60)
    runs = engine.runner.runs
    futures = [online.submit(make_utterance(f"u{i}", 4_000)) for i in range(4)]
    online.close()

    online.serve()

    assert engine.runner.runs - runs == 2  # of two rows each
    assert all(f.done() for f in futures)


def test_a_lone_request_leaves_at_its_deadline(engine):
    online = Online(engine, max_wait_s=0.01)

    answer = served(online, lambda: online.submit(utterances(1)[0]).result(timeout=60))

    assert answer.utterance_id == "u0"


def test_what_is_cancelled_is_not_computed(engine):
    online = Online(engine)
    runs = engine.runner.runs
    future = online.submit(utterances(1)[0])
    assert future.cancel()
    online.close()

    online.serve()

    assert engine.runner.runs == runs
    with pytest.raises(CancelledError):
        future.result()


def test_a_full_engine_refuses_after_the_callers_time_and_takes_again_what_it_answered(engine):
    online = Online(engine, max_pending=1)
    first = online.submit(utterances(1)[0])

    with pytest.raises(EngineBusyError, match=r"0\.01 s"):
        online.submit(utterances(2)[1], timeout_s=0.01)

    first.cancel()
    second = online.submit(utterances(2)[1], timeout_s=0.01)
    online.close()
    online.serve()
    assert second.result().utterance_id == "u1"


def test_a_batch_that_fails_fails_its_own_futures_by_id_and_no_others(engine, monkeypatch):
    launch = engine.runner.launch

    def breaks_on_u1(slot, batch, **options):
        if batch.bucket == max(engine.buckets):
            raise RuntimeError("synStatus 26")
        launch(slot, batch, **options)

    monkeypatch.setattr(engine.runner, "launch", breaks_on_u1)
    online = Online(engine)
    sound = [online.submit(make_utterance(f"s{i}", 4_000)) for i in range(2)]
    long = online.submit(make_utterance("l", 16_000))
    online.close()

    online.serve()

    assert [f.result().utterance_id for f in sound] == ["s0", "s1"]
    with pytest.raises(EngineError, match=r"'l' has no transcript.*synStatus 26") as caught:
        long.result()
    assert caught.value.utterance_ids == ("l",)


def test_a_server_that_dies_leaves_no_future_behind(engine, monkeypatch):
    online = Online(engine)
    futures = [online.submit(u) for u in utterances(3)]
    monkeypatch.setattr(online, "_take", lambda: (_ for _ in ()).throw(KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        online.serve()

    for future in futures:
        with pytest.raises(EngineError, match="stopped serving"):
            future.result(timeout=1)


def test_what_is_below_a_frame_is_answered_without_the_device(engine):
    online = Online(engine)

    assert online.submit(make_utterance("tiny", 399)).result(timeout=1).text == ""


def test_what_cannot_be_served_is_refused_where_it_is_submitted(engine):
    online = Online(engine)

    with pytest.raises(BucketOverflowError, match="'long'"):
        online.submit(make_utterance("long", 160_000))
    online.close()
    with pytest.raises(EngineError, match="closed"):
        online.submit(utterances(1)[0])


def test_a_submitter_waits_while_the_engine_is_full_and_is_let_in(engine):
    online = Online(engine, max_pending=2, max_wait_s=0)
    passed = threading.Event()

    def submit():
        futures = [online.submit(u) for u in utterances(9)]
        passed.set()
        return [f.result(timeout=60).utterance_id for f in futures]

    assert served(online, submit) == [f"u{i}" for i in range(9)]
    assert passed.is_set()
