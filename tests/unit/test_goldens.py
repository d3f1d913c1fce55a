"""The golden format and its comparisons: what must be seen, and what must be excused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import w2v_core
from w2v_core.errors import DataError, W2VError
from w2v_core.scoring import goldens as g

PACKAGE = Path(w2v_core.__file__).parent
CANARIES = [PACKAGE / "model" / "canary" / family for family in ("base", "large")]


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 4, (120, 32)).astype(np.float32)


def pair(logits, text="A B"):
    return g.make_golden(logits, hypothesis=text), g.observe(logits, hypothesis=text)


def test_digest_is_the_same_on_every_machine():
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    # Signs of pattern 0 by hand: the top bit of splitmix64 of t * 2**16 + v.
    signs = [1 if _splitmix(t << 16 | v) >> 63 else -1 for t in range(2) for v in range(3)]
    expected = sum(s * x for s, x in zip(signs, range(6), strict=True)) / 6**0.5
    assert g.digest(grid)[0] == pytest.approx(expected)
    assert len(g.digest(grid)) == g.NUM_PROJECTIONS


def _splitmix(seed):
    mask = 2**64 - 1
    z = (seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
    return z ^ z >> 31


def test_sign_patterns_are_balanced_and_uncorrelated():
    signs = np.stack([_signs(k) for k in range(g.NUM_PROJECTIONS)]).reshape(16, -1)
    correlation = signs @ signs.T / signs.shape[1]
    limit = 5 / signs.shape[1] ** 0.5  # five standard errors
    assert np.abs(signs.mean(axis=1)).max() < limit
    assert np.abs(correlation - np.eye(16)).max() < limit


def _signs(k):
    frames = np.arange(200, dtype=np.uint64)[:, None] << np.uint64(16)
    bits = g._splitmix64(frames | np.arange(32, dtype=np.uint64))
    return 2.0 * ((bits >> np.uint64(63 - k)) & np.uint64(1)) - 1


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0])
def test_digest_distance_estimates_the_rms_difference(logits, scale):
    noise = np.random.default_rng(1).normal(0, scale, logits.shape)
    seen = g.digest_distance(g.digest(logits), g.digest(logits + noise))
    assert seen == pytest.approx(scale, rel=0.6)  # three times the 18 % of the docstring


def test_digest_distance_of_nan_logits_is_infinite(logits):
    assert g.digest_distance(g.digest(logits), g.digest(logits * np.nan)) == float("inf")


def test_golden_keeps_every_frame_id(logits):
    golden, _ = pair(logits)
    assert golden.frame_ids.tolist() == logits.argmax(-1).tolist()


def test_low_margin_frames_are_listed(logits):
    logits[7] = 0
    logits[7, :2] = 5.0, 5.0 + g.LOW_MARGIN / 2
    assert 7 in g.make_golden(logits, hypothesis="").low_margin


def test_equal_output_shows_no_difference(logits):
    golden, seen = pair(logits)
    result = g.compare({"a": golden}, [("a", seen)])
    lists = (result.missing, result.extra, result.duplicate, result.changed)
    assert not any((*lists, result.changed_low_margin, result.wrong_num_frames))
    assert result.beyond(1e-5) == ()


def test_missing_extra_and_duplicate_ids_are_seen(logits):
    golden, seen = pair(logits)
    result = g.compare({"a": golden, "b": golden}, [("b", seen), ("c", seen), ("b", seen)])
    assert (result.missing, result.extra, result.duplicate) == (("a",), ("c",), ("b",))


def test_changed_transcript_is_seen_when_no_frame_differs(logits):
    golden, seen = pair(logits)
    seen = dataclasses.replace(seen, hypothesis="A BB")
    assert g.compare({"a": golden}, [("a", seen)]).changed == ("a",)


@pytest.mark.parametrize(
    ("low_margin", "changed", "excused"),
    [
        pytest.param((7,), (), ("a",), id="low-margin-frame"),
        pytest.param((), ("a",), (), id="clear-frame"),
    ],
)
def test_flipped_frame_is_excused_only_at_low_margin(logits, low_margin, changed, excused):
    golden, seen = pair(logits)
    golden = dataclasses.replace(golden, low_margin=low_margin)
    ids = seen.frame_ids.copy()
    ids[7] = (ids[7] + 1) % 32
    seen = dataclasses.replace(seen, frame_ids=ids, hypothesis="OTHER")
    result = g.compare({"a": golden}, [("a", seen)])
    assert (result.changed, result.changed_low_margin) == (changed, excused)


def test_dropped_frame_is_seen_and_has_no_finite_distance(logits):
    golden, _ = pair(logits)
    result = g.compare({"a": golden}, [("a", g.observe(logits[:-1], hypothesis="A B"))])
    assert result.wrong_num_frames == ("a",)
    assert result.beyond(1e9) == ("a",)


def test_golden_set_survives_the_file(logits, tmp_path):
    golden, _ = pair(logits, "IT'S")
    made = g.GoldenSet(
        goldens={"1-1-0000": golden}, model_sha256="m", audio_sha256="a", made_with={"numpy": "2"}
    )
    g.save_golden_set(tmp_path / "goldens.json", made)
    assert g.load_golden_set(tmp_path / "goldens.json") == made
    assert g.load_golden_set(tmp_path / "goldens.json").goldens == made.goldens


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="truncated"),
        pytest.param('{"schema": 0}', id="other-schema"),
        pytest.param('{"schema": 1, "goldens": {}}', id="no-checksum"),
    ],
)
def test_unreadable_goldens_are_refused_by_name(content, tmp_path):
    path = tmp_path / "goldens.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(W2VError, match=r"goldens\.json"):
        g.load_golden_set(path)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hypothesis", 3, "golden 'a': hypothesis is 3: expected `str`, got `int`"),
        ("runs", [[1, 10**12]], "expected `int` <= 1000000"),
        ("runs", [[1, 2, 3]], "expected `array` of length 2"),
        ("num_frames", 7, "has 7 frames, its runs 2"),
        ("digest", [0.0], "1 projections, expected 16"),
    ],
)
def test_a_bent_golden_names_the_field_and_what_was_expected(logits, tmp_path, field, value, said):
    """Also where a count would have asked for terabytes."""
    golden, _ = pair(logits, "IT'S")
    path = tmp_path / "goldens.json"
    made = g.GoldenSet(goldens={"a": golden}, model_sha256="", audio_sha256="", made_with={})
    g.save_golden_set(path, made)
    data = json.loads(path.read_text())
    data["goldens"]["a"].update({"num_frames": 2, "runs": [[1, 2]], field: value})
    path.write_text(json.dumps(data))

    with pytest.raises(DataError) as error:
        g.load_golden_set(path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)


@pytest.fixture(params=CANARIES, ids=lambda path: path.name)
def canary(request):
    return request.param


def test_bundled_goldens_are_of_the_bundled_weights_and_audio(canary):
    bundled = g.load_golden_set(canary / "goldens.json")
    audio = sorted((PACKAGE / "data" / "canary_speech" / "audio").rglob("*.flac"))
    by_id = {path.stem: path for path in audio}
    assert len(by_id) == len(bundled.goldens) == 73
    assert g.sha256_of([canary / "model.safetensors"]) == bundled.model_sha256
    assert g.sha256_of(by_id[one] for one in bundled.goldens) == bundled.audio_sha256


def test_bundled_transcripts_follow_from_the_stored_frames(canary):
    vocabulary = json.loads((canary / "vocab.json").read_text(encoding="utf-8"))
    symbols = {index: symbol for symbol, index in vocabulary.items()}
    for golden in g.load_golden_set(canary / "goldens.json").goldens.values():
        spelled = "".join(symbols[token] for token, _ in golden.runs if token != 0)
        assert spelled.replace("|", " ").strip() == golden.hypothesis
        assert sum(count for _, count in golden.runs) == golden.num_frames
