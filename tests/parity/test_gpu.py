"""The parts that an NVIDIA GPU gets, computed on the host, against Hugging Face's own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity.reference import (
    FAMILIES,
    assert_equal_to_reference,
    compare,
    references_of,
    small_config,
    small_model,
    stack,
    waves,
)
from w2v_core.model import cuda
from w2v_core.model.cuda import BlockedPositions, ConvolvedTaps, GpuEncoder, add_norm, suit_gpu
from w2v_core.model.encoder import PositionalConvolution
from w2v_core.model.exact import ExactForward
from w2v_core.model.layers import Taps


@pytest.fixture(autouse=True)
def nothing_compiles(monkeypatch):
    monkeypatch.setattr(cuda, "compiled_add_norm", lambda: (add_norm, "norms torch"))


def forward_of(family, dtype=torch.float32):
    made = ExactForward(small_model(family), dtype=dtype, float64_statistics=True, prepack=False)
    return suit_gpu(made).eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(400, 30_000), min_size=1, max_size=6),
    extra_frames=st.integers(0, 40),
    extra_rows=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_any_batch_in_any_bucket_equals_the_reference(
    family, lengths, extra_frames, extra_rows, seed
):
    waveforms = waves(*lengths, seed=seed)

    assert_equal_to_reference(
        forward_of(family),
        small_model(family),
        waveforms,
        extra_frames=extra_frames,
        extra_rows=extra_rows,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_stays_as_near_to_the_reference_as_the_library_does(family):
    """The sums of the parts are rounded once, so they are no further off than the shared ones."""
    waveforms = waves(16_000, 9_000, 400)
    padded, lengths = stack(waveforms)
    references = references_of(small_model(family), waveforms)
    shared = ExactForward(
        small_model(family), dtype=torch.bfloat16, float64_statistics=True, prepack=False
    )
    with torch.inference_mode():
        ours = compare(references, forward_of(family, torch.bfloat16)(padded, lengths))
        theirs = compare(references, shared(padded, lengths))

    assert ours.max_difference <= 1.5 * theirs.max_difference


@pytest.mark.parametrize("family", FAMILIES)
def test_nan_stays_in_its_utterance(family):
    waveforms = waves(16_000, 16_100, 15_000)
    references = references_of(small_model(family), waveforms)
    waveforms[1][:] = np.nan
    padded, lengths = stack(waveforms)

    logits = forward_of(family)(padded, lengths)

    found = compare([references[0], references[2]], logits[[0, 2]])
    assert found.max_difference <= found.tolerance


@pytest.mark.parametrize("kernel", [1, 2, 15, 16, 17, 31, 128])
@pytest.mark.parametrize("frames", [1, 15, 16, 17, 60])
def test_blocks_of_positions_are_the_convolution_of_hugging_face(kernel, frames):
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2PositionalConvEmbedding

    torch.manual_seed(0)
    module = Wav2Vec2PositionalConvEmbedding(small_config("group", num_conv_pos_embeddings=kernel))
    ours = BlockedPositions(PositionalConvolution(module.conv, dtype=torch.float32))
    hidden = torch.randn(3, frames, 64)
    with torch.inference_mode():
        theirs = module.eval()(hidden)

        assert torch.allclose(ours(hidden), theirs, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("rows", [4, 5, 64])
def test_taps_as_a_convolution_are_the_convolution(kernel, rows, bias):
    torch.manual_seed(0)
    source = torch.nn.Conv1d(16, 24, kernel, stride=2, bias=bias)
    ours = ConvolvedTaps(Taps(source, dtype=torch.float32))
    joined = torch.randn(rows, 16)
    with torch.inference_mode():
        theirs = source(joined.t())[:, : ours(joined).shape[0]].t()

        assert torch.allclose(ours(joined), theirs, atol=1e-5)
        assert len(ours(joined)) == len(Taps(source, dtype=torch.float32)(joined))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_in_fewer_passes_is_bit_for_bit_the_encoder(family, dtype):
    forward = ExactForward(small_model(family), dtype=dtype, float64_statistics=True, prepack=False)
    padded, lengths = stack(waves(16_000, 9_000))
    with torch.inference_mode():
        before = forward(padded, lengths)
        forward.encoder = GpuEncoder(forward.encoder, fused=add_norm)

        assert torch.equal(before, forward(padded, lengths))


def test_where_nothing_compiles_the_library_computes_and_the_record_says_so(monkeypatch):
    monkeypatch.undo()
    cuda.compiled_add_norm.cache_clear()

    fused, why = cuda.compiled_add_norm()  # no GPU here, so that it fails at the first tensor

    assert fused is add_norm
    assert "torch.compile" in why
    cuda.compiled_add_norm.cache_clear()
