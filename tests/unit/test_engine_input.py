"""Which utterances the engine takes, and what it makes of their waveforms."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.engines import make_checkpoint, make_utterance, warm_engine
from w2v_core.backends.cpu import CpuBackend
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.engine.engine import Engine
from w2v_core.errors import AudioError, DataError


def test_an_id_that_occurs_twice_is_refused():
    utterances = [make_utterance("same", 4_000), make_utterance("same", 5_000)]

    with pytest.raises(DataError, match="'same' occurs twice"):
        warm_engine(utterances).transcribe(utterances)


def test_a_waveform_is_normalised_where_the_checkpoint_wants_it():
    utterance = make_utterance("u", 16_000)
    raw = replace(utterance, waveform=3 * utterance.waveform + 1, normalised=False)
    engine = warm_engine([utterance])

    expected = engine.logits([utterance])["u"]

    np.testing.assert_allclose(engine.logits([raw])["u"], expected, rtol=0, atol=1e-5)
    assert engine.transcribe([raw]).texts == engine.transcribe([utterance]).texts


def test_a_normalised_waveform_is_refused_where_the_checkpoint_wants_it_raw():
    utterance = make_utterance("u", 4_000)
    checkpoint = replace(make_checkpoint(), do_normalize=False)
    engine = Engine(checkpoint, CpuBackend(), EngineConfig(plan=BatchPlan(kind="sorted")))
    engine.warm_up([4_000])

    with pytest.raises(DataError, match=r"'u' is normalised, and .* wants it raw"):
        engine.transcribe([utterance])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2e9])
@pytest.mark.parametrize(
    ("do_normalize", "normalised"),
    [(True, False), (True, True), (False, False)],
    ids=["to-normalise", "normalised", "raw"],
)
def test_a_bad_sample_is_named_before_it_reaches_the_device(bad, do_normalize, normalised):
    checkpoint = replace(make_checkpoint(), do_normalize=do_normalize)
    engine = Engine(checkpoint, CpuBackend(), EngineConfig(plan=BatchPlan(kind="sorted")))
    engine.warm_up([4_000])
    utterance = replace(make_utterance("bad", 4_000), normalised=normalised)
    utterance.waveform[17] = bad

    with pytest.raises(AudioError, match="bad: sample 17"):
        engine.transcribe([make_utterance("fine", 4_000)] * do_normalize + [utterance])
