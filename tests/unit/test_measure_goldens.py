"""A cell is held against its goldens by logits of its scored pass, or of a pass of their own."""

from dataclasses import replace

import pytest

from tests.helpers.engines import make_engine, make_utterance
from w2v_core.bench.parity import GoldenCheck
from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.engine.engine import Engine
from w2v_core.scoring.goldens import GoldenSet, make_golden, save_golden_set


@pytest.fixture
def corpus():
    utterances = tuple(make_utterance(f"7-1-{i}", n) for i, n in enumerate([4_000, 8_000, 5_000]))
    return Corpus(
        spec=parse_dataset("canary-speech"),
        utterances=utterances,
        exclusions=(),
        expected=tuple(u.utterance_id for u in utterances),
    )


@pytest.fixture
def engine(corpus, tmp_path):
    """Warm, its checkpoint beside goldens of its own logits."""
    engine = make_engine()
    engine.warm_up([u.num_samples for u in corpus.utterances])
    logits = engine.logits(corpus.utterances)
    found = engine.transcribe(corpus.utterances)
    goldens = {i: make_golden(logits[i], hypothesis=text) for i, text in found.texts.items()}
    engine.checkpoint = replace(engine.checkpoint, location=str(tmp_path))
    save_golden_set(
        tmp_path / "goldens.json",
        GoldenSet(
            goldens=goldens,
            model_sha256=engine.checkpoint.sha256,
            audio_sha256="0" * 64,
            made_with={},
        ),
    )
    return engine


def test_on_a_host_the_scored_pass_leaves_what_the_goldens_need(engine, corpus, monkeypatch):
    goldens = GoldenCheck(engine, corpus)
    scored = engine.transcribe(corpus.utterances, keep_frame_ids=True, on_logits=goldens.on_logits)
    monkeypatch.setattr(Engine, "logits", lambda *_: pytest.fail("a further pass over the set"))

    finding = goldens.check(scored)

    assert not finding.reasons
    assert finding.logit_distance == pytest.approx(0.0, abs=1e-5)


def test_on_a_device_the_scored_pass_is_the_step_that_is_timed(engine, corpus, monkeypatch):
    monkeypatch.setattr(type(engine.backend), "is_host", False)

    assert GoldenCheck(engine, corpus).on_logits is None


def test_where_no_logits_were_handed_over_a_pass_computes_them(engine, corpus):
    scored = engine.transcribe(corpus.utterances, keep_frame_ids=True)

    finding = GoldenCheck(engine, corpus).check(scored)

    assert not finding.reasons
    assert finding.logit_distance == pytest.approx(0.0, abs=1e-5)


def test_logits_of_the_scored_pass_that_are_off_make_the_cell_invalid(engine, corpus):
    goldens = GoldenCheck(engine, corpus)

    def bent(logits):
        goldens.on_logits({i: v + 0.1 * (i == "7-1-1") for i, v in logits.items()})

    scored = engine.transcribe(corpus.utterances, keep_frame_ids=True, on_logits=bent)

    (reason,) = goldens.check(scored).reasons

    assert "logits of 1 utterances are off" in reason
    assert "worst 7-1-1" in reason


def test_a_set_without_goldens_hands_no_logits_over(engine, corpus):
    elsewhere = replace(corpus, spec=parse_dataset("librispeech:."))

    assert GoldenCheck(engine, elsewhere).on_logits is None
