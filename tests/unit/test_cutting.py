"""Long audio is cut where it is quietest: nothing lost, nothing doubled, always alike."""

import numpy as np
import pytest

from tests.helpers.speech import voiced
from w2v_core.data.cutting import HOP, cut_places

MAX = 4 * 16_000


def pieces(waveform):
    cuts = cut_places(waveform, max_samples=MAX)
    return np.split(waveform, cuts)


@pytest.mark.parametrize("samples", [1, MAX - 1, MAX])
def test_what_fits_is_not_cut(samples):
    assert cut_places(voiced(samples), max_samples=MAX) == ()


@pytest.mark.parametrize("samples", [MAX + 1, 2 * MAX, 2 * MAX + 1, 5 * MAX + 777])
@pytest.mark.parametrize("kind", ["speech", "zeros", "noise"])
def test_pieces_are_the_whole_and_none_is_too_long_or_a_scrap(samples, kind):
    speech = {
        "speech": voiced(samples, seed=1),
        "zeros": np.zeros(samples, np.float32),
        "noise": np.random.default_rng(samples).standard_normal(samples).astype(np.float32),
    }[kind]

    found = pieces(speech)

    np.testing.assert_array_equal(np.concatenate(found), speech)
    assert all(MAX // 2 <= len(piece) <= MAX for piece in found)


@pytest.mark.parametrize("seed", range(5))
def test_cut_lies_within_a_pause(seed):
    """Pauses of 0.4 s at a random place of each stretch in which a cut may lie."""
    rng = np.random.default_rng(seed)
    speech = voiced(MAX + MAX // 2, seed=seed)
    start = int(rng.integers(MAX // 2, MAX - 6_400 - HOP))
    speech[start : start + 6_400] *= 0.001

    (cut,) = cut_places(speech, max_samples=MAX)

    assert start <= cut <= start + 6_400


def test_of_equal_pauses_the_latest_is_taken():
    speech = voiced(2 * MAX)
    for start in (MAX // 2 + 1600, MAX - 6400):
        speech[start : start + 4800] = 0

    assert MAX - 6400 <= cut_places(speech, max_samples=MAX)[0] <= MAX


def test_cuts_do_not_depend_on_loudness():
    speech = voiced(3 * MAX, seed=3)

    assert cut_places(speech * 1e-3, max_samples=MAX) == cut_places(speech, max_samples=MAX)
