"""The packed forward: the same logits without computing any padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity.reference import (
    CPU,
    FAMILIES,
    assert_equal_to_reference,
    small_model,
    speech_like,
    stack,
)
from w2v_core.errors import BucketOverflowError, ConfigError
from w2v_core.model.encoder import PositionalConvolution
from w2v_core.model.forward import build_forward
from w2v_core.model.fourier import FourierPositions
from w2v_core.model.layers import can_prepack
from w2v_core.types import Bucket

EDGE = Bucket.holding(16_000, batch_size=1).capacity_samples


PREPACK = can_prepack()  # False repeats the plain case where oneDNN lacks it


def packed(family: str, *, dtype: str = "float32", **options):
    return build_forward(
        small_model(family), name="exact", dtype=dtype, device=CPU, packed=True, **options
    )


def waves(*lengths: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return [speech_like(rng, length) for length in lengths]


def rows_seen(monkeypatch, forward):
    """Return a list that gets the number of rows of each call of the encoder's first layer."""
    seen = []
    original = forward.encoder.layers[0].forward
    monkeypatch.setattr(
        forward.encoder.layers[0],
        "forward",
        lambda rows, attend: seen.append(len(rows)) or original(rows, attend),
    )
    return seen


@pytest.mark.parametrize("float64_statistics", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("num_samples", [400, 719, 720, EDGE - 1, EDGE, EDGE + 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_boundary_lengths_equal_the_reference(family, num_samples, float64_statistics):
    forward = packed(family, float64_statistics=float64_statistics)

    assert_equal_to_reference(forward, small_model(family), waves(num_samples, 399, 5_000))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30_000), min_size=1, max_size=8).filter(
        lambda lengths: max(lengths) >= 400
    ),
    extra_frames=st.integers(0, 100),
    seed=st.integers(0, 2**16),
)
def test_any_batch_equals_the_reference(family, lengths, extra_frames, seed):
    assert_equal_to_reference(
        packed(family),
        small_model(family),
        waves(*lengths, seed=seed),
        extra_frames=extra_frames,
    )


def test_frames_past_an_utterance_are_zero():
    padded, lengths = stack(waves(5_000, 16_000, 399), extra_rows=1)

    logits = packed("group")(padded, lengths)

    frames = logits.abs().sum(dim=-1).count_nonzero(dim=1)
    assert frames.tolist() == [15, 49, 0, 0]
    assert logits[0, :15].abs().sum() > 0
    assert logits.shape[1] == (padded.shape[1] - 80) // 320


def test_a_batch_of_padding_rows_has_no_frames():
    padded, lengths = stack([], extra_rows=2)

    assert (packed("layer")(padded, lengths) == 0).all()


@pytest.mark.parametrize("row", [0, 1, 2])
def test_nan_stays_in_its_utterance(row):
    forward = packed("group")
    waveforms = waves(16_000, 16_100, 15_000)
    waveforms[row][:] = np.nan
    padded, lengths = stack(waveforms)

    logits = forward(padded, lengths)

    assert torch.isnan(logits).any(dim=-1).any(dim=-1).tolist() == [row == r for r in range(3)]


def test_padding_is_not_computed(monkeypatch):
    """Rows that reach the encoder are the utterances' own frames, not the bucket's."""
    forward = packed("group")
    seen = rows_seen(monkeypatch, forward)
    padded, lengths = stack(waves(5_000, 16_000), extra_frames=50)

    forward(padded, lengths)

    assert seen == [15 + 49]


def test_a_large_batch_is_computed_in_groups(monkeypatch):
    """Utterances of 93, 15, 49, 0 and 15 frames, at most 64 at a time."""
    monkeypatch.setattr("w2v_core.model.packed.GROUP_FRAMES", 64)
    forward = packed("group")
    seen = rows_seen(monkeypatch, forward)

    assert_equal_to_reference(
        forward, small_model("group"), waves(30_000, 5_000, 16_000, 399, 5_000)
    )

    assert seen == [93, 15 + 49, 15]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_of_the_front_end_join_without_a_seam(family, monkeypatch):
    monkeypatch.setattr("w2v_core.model.host.BLOCK_FRAMES", 16)

    assert_equal_to_reference(packed(family), small_model(family), waves(16_000, 5_440, 5_519))


@pytest.mark.parametrize("prepack", [False, PREPACK], ids=["plain", "prepacked"])
def test_an_offset_costs_no_precision_in_bfloat16(prepack):
    """Group norm takes a constant off; it must go before bfloat16 rounds the sum."""
    waveforms = waves(5_600, 16_000)
    forward = packed("group", dtype="bfloat16", prepack=prepack)
    expected = packed("group")

    def error(offset: float) -> float:
        padded, lengths = stack([waveform + np.float32(offset) for waveform in waveforms])
        differences = forward(padded, lengths) - expected(padded, lengths)
        return float(differences[0, :17].abs().mean() + differences[1, :49].abs().mean())

    assert error(20.0) <= 1.5 * error(0.0)


@pytest.mark.parametrize("prepack", [False, PREPACK], ids=["plain", "prepacked"])
@pytest.mark.parametrize("family", FAMILIES)
def test_aligned_attention_changes_nothing_but_rounding(family, prepack):
    """Frames that only align an utterance to 16 must not be attended to: here 15 and 14 of 32."""
    padded, lengths = stack(waves(5_600, 6_000))
    options = {"dtype": "bfloat16", "prepack": prepack}

    found = packed(family, **options)(padded, lengths)

    plain = packed(family, **options)
    plain.alignment = 1
    expected = plain(padded, lengths)
    for row, frames in enumerate((17, 18)):
        # Rounding alone gives 0.009; attending to the alignment 0.022 and more.
        assert (found - expected)[row, :frames].abs().max() <= 0.015


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        pytest.param([5_000, 16_000], 16 + 64, id="aligned"),
        pytest.param([5_000] * 17, 17 * 16 + 16, id="stepped"),
    ],
)
def test_rows_come_in_few_numbers_in_bfloat16(monkeypatch, lengths, rows):
    forward = packed("group", dtype="bfloat16")
    seen = rows_seen(monkeypatch, forward)

    forward(*stack(waves(*lengths)))

    assert seen == [rows]


def test_blocks_of_the_front_end_come_in_few_shapes(monkeypatch):
    forward = packed("group", dtype="bfloat16")
    seen = []
    taps = forward.front_end.taps[0]
    original = taps.forward
    monkeypatch.setattr(
        taps, "forward", lambda rows, **given: seen.append(len(rows)) or original(rows, **given)
    )

    forward(*stack(waves(38_000, 40_000, 180_000), extra_frames=40))  # 118, 124 and 562 frames

    assert seen == [64 * frames + 15 for frames in (128, 128, 256, 256, 64)]


@pytest.mark.parametrize("frames", [1, 63, 64, 65, 128, 129, 130, 258, 259, 700])
def test_fourier_positions_equal_the_convolution(frames):
    source = small_model("group").wav2vec2.encoder.pos_conv_embed.conv
    hidden = torch.randn(1, frames, source.out_channels)

    (found,) = FourierPositions(source)([hidden[0]])

    expected = PositionalConvolution(source, dtype=torch.float32)(hidden)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_a_kernel_longer_than_a_block_is_taken():
    source = torch.nn.Conv1d(16, 16, 300, padding=150, groups=4)
    hidden = torch.randn(1, 700, 16)

    (found,) = FourierPositions(source)([hidden[0]])

    expected = PositionalConvolution(source, dtype=torch.float32)(hidden)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        pytest.param("stock", CPU, id="stock"),
        pytest.param("exact", torch.device("meta"), id="device"),
    ],
)
def test_packing_is_refused_where_it_cannot_be(name, device):
    with pytest.raises(ConfigError, match=rf"{name} forward on {device}.*use batch_plan sorted"):
        build_forward(small_model("group"), name=name, dtype="float32", device=device, packed=True)


def test_a_shape_that_is_no_bucket_is_refused():
    with pytest.raises(BucketOverflowError, match="16000 samples a row"):
        packed("group")(torch.zeros(1, 16_000), torch.tensor([400], dtype=torch.int32))
