"""Files that were cut, joined, flipped: the whole length, or a refusal; never anything else."""

import faulthandler
from collections import Counter

import numpy as np
import pytest

from tests.helpers.damage import damaged, recordings
from w2v_core.data import audio
from w2v_core.errors import AudioError

LIMIT_S = 60  # of one decoding; a hang ends the process with the stacks of its threads


@pytest.fixture(scope="module")
def whole():
    return recordings()


def test_every_layout_decodes_to_the_samples_that_were_written(whole):
    """Else a refusal of its damage would show nothing."""
    for recording in whole:
        decoded = len(audio.decode(recording.data, name=recording.label))
        assert (recording.label, decoded) == (recording.label, recording.num_samples)


@pytest.mark.parametrize(
    ("seed", "count"), [(1, 400), pytest.param(2, 10_000, marks=pytest.mark.slow)]
)
def test_damaged_audio_is_refused_or_whole(whole, seed, count):
    """No other exception, no hang, no other length; refusals name the audio."""
    rng, outcomes, wrong = np.random.default_rng(seed), Counter(), []
    for index in range(count):
        label, data, right = damaged(rng, whole)
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        outcome = outcome_of(data, right=right)
        faulthandler.cancel_dump_traceback_later()
        outcomes[outcome.split(" ")[0]] += 1
        if outcome not in {"refused", "whole"}:
            wrong.append(f"{index} {label}: {outcome}")

    assert not wrong
    assert min(outcomes["refused"], outcomes["whole"]) > count // 20


def outcome_of(data, *, right):
    try:
        decoded = len(audio.decode(data, name="a.file"))
    except AudioError as error:
        return "refused" if str(error).startswith("a.file: ") else f"nameless refusal {error}"
    except Exception as error:  # noqa: BLE001 (that is what must not happen)
        return f"raised {error!r}"
    return "whole" if decoded == right else f"silent {decoded} of {right}"
