"""The exact forward of small checkpoints against the unpadded Hugging Face forward."""

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
    compare,
    references_of,
    small_model,
    stack,
    waves,
)
from w2v_core.errors import BucketOverflowError, ConfigError
from w2v_core.model.exact import ExactForward
from w2v_core.model.forward import build_forward
from w2v_core.model.layers import can_prepack
from w2v_core.types import Bucket

EDGE = Bucket.holding(16_000, batch_size=1).capacity_samples  # the longest that this bucket holds
BOUNDARIES = [
    pytest.param(400, id="one-frame"),
    pytest.param(401, id="one-frame-and-one"),
    pytest.param(719, id="below-two-frames"),
    pytest.param(720, id="two-frames"),
    pytest.param(EDGE - 1, id="below-edge"),
    pytest.param(EDGE, id="edge"),
    pytest.param(EDGE + 1, id="over-edge"),
    pytest.param(EDGE + 80, id="last-frame-exact"),
    pytest.param(560_000, id="longest"),
]
STATISTICS = [pytest.param(False, id="float32"), pytest.param(True, id="float64")]


def exact(family: str, *, dtype="float32", float64_statistics=False, prepack=False):
    return build_forward(
        small_model(family),
        name="exact",
        dtype=dtype,
        device=CPU,
        float64_statistics=float64_statistics,
        prepack=prepack,
    )


@pytest.mark.parametrize("float64_statistics", STATISTICS)
@pytest.mark.parametrize("num_samples", BOUNDARIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_boundary_lengths_equal_the_reference(family, num_samples, float64_statistics):
    """Length by length, beside a shorter and a longer utterance that could leak in."""
    forward = exact(family, float64_statistics=float64_statistics)
    waveforms = waves(num_samples, 399, 5_000, num_samples + 3 * 320)

    assert_equal_to_reference(forward, small_model(family), waveforms)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(400, 30_000), min_size=1, max_size=8),
    extra_frames=st.integers(0, 100),
    extra_rows=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_any_batch_in_any_bucket_equals_the_reference(
    family, lengths, extra_frames, extra_rows, seed
):
    waveforms = waves(*lengths, seed=seed)

    assert_equal_to_reference(
        exact(family),
        small_model(family),
        waveforms,
        extra_frames=extra_frames,
        extra_rows=extra_rows,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_32_equals_the_reference(family):
    lengths = np.random.default_rng(1).integers(400, 40_000, size=32)

    assert_equal_to_reference(exact(family), small_model(family), waves(*lengths))


@pytest.mark.parametrize("float64_statistics", STATISTICS)
def test_a_waveform_with_an_offset_equals_the_reference(float64_statistics):
    """A checkpoint without normalisation sees raw audio: variance is small against the mean."""
    waveforms = [wave * np.float32(0.01) + np.float32(1.0) for wave in waves(400, 9_000, 16_000)]
    forward = exact("group", float64_statistics=float64_statistics)
    padded, lengths = stack(waveforms)

    found = compare(references_of(small_model("group"), waveforms), forward(padded, lengths))

    assert found.changed == 0
    assert found.max_difference <= 20 * found.tolerance  # the reference loses the digits itself


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_samples", [0, 1, 9, 10, 399])
def test_a_row_below_one_frame_is_finite_and_disturbs_nobody(family, num_samples):
    forward = exact(family)
    padded, lengths = stack([*waves(5_000, 16_000), *waves(num_samples)])
    with torch.inference_mode():
        together = forward(padded, lengths)
        alone = forward(padded[:2], lengths[:2])

    assert torch.isfinite(together).all()
    assert (together[:2] - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("row", [0, 1, 2])
def test_nan_stays_in_its_utterance(family, row):
    forward = exact(family)
    waveforms = waves(16_000, 16_100, 15_000)
    references = references_of(small_model(family), waveforms)
    waveforms[row][:] = np.nan
    padded, lengths = stack(waveforms)

    logits = forward(padded, lengths)

    others = [index for index in range(3) if index != row]
    found = compare([references[index] for index in others], logits[others])
    assert found.changed == 0
    assert found.max_difference <= found.tolerance
    assert torch.isnan(logits[row, :40]).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_stands_in_the_padding_does_not_matter(family):
    """A slot's buffer holds the last batch's samples unless somebody clears it."""
    forward = exact(family)
    padded, lengths = stack(waves(5_000, 16_000))
    dirty = padded.clone()
    dirty[0, 5_000:] = 7.0

    difference = forward(dirty, lengths)[0, :14] - forward(padded, lengths)[0, :14]

    assert difference.abs().max() <= 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_export_gives_identical_logits(family, dtype):
    forward = exact(family, dtype=dtype)
    padded, lengths = stack(waves(5_000, 400, 16_000), extra_rows=1)
    exported = torch.export.export(forward, (padded, lengths), strict=False).module()

    other, other_lengths = stack(waves(16_000, 15_000, 399, seed=5), extra_rows=1)

    torch.testing.assert_close(
        exported(other, other_lengths), forward(other, other_lengths), rtol=0, atol=0
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_graph_has_no_float64_no_host_read_and_no_write_in_place(dtype):
    """Gaudi computes no float64 and captures no in-place view update; no capture reads back."""
    forward = exact("group", dtype=dtype)
    nodes = torch.export.export(forward, stack(waves(5_000, 400)), strict=False).graph.nodes

    values = [node.meta["val"] for node in nodes if "val" in node.meta]
    names = [str(node.target) for node in nodes if node.op == "call_function"]
    operators = [name.removeprefix("aten.").split(".")[0] for name in names if "aten." in name]

    assert len(operators) > 50
    assert not [value for value in values if getattr(value, "dtype", None) == torch.float64]
    assert not {"item", "_local_scalar_dense", "nonzero", "masked_select"} & set(operators)
    assert not [name for name in operators if name.endswith("_") and not name.endswith("__")]


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_changes_few_frames(family):
    """Random weights have tiny margins, so this bound is loose; the canaries' is tight."""
    waveforms = waves(*np.random.default_rng(2).integers(400, 40_000, size=16))
    padded, lengths = stack(waveforms)

    logits = exact(family, dtype="bfloat16")(padded, lengths)

    found = compare(references_of(small_model(family), waveforms), logits)
    assert logits.dtype == torch.float32
    assert found.changed <= 0.04 * found.num_frames
    assert found.max_difference <= 0.2


@pytest.mark.parametrize("family", FAMILIES)
def test_autocast_runs_near_the_reference(family):
    waveforms = waves(16_000, 5_000)
    padded, lengths = stack(waveforms)
    forward = exact(family)
    with torch.autocast("cpu", torch.bfloat16):
        logits = forward(padded, lengths)

    found = compare(references_of(small_model(family), waveforms), logits)
    assert (logits != logits.bfloat16()).any()  # the head is not rounded, or arg-maxes tie
    assert found.max_difference > found.tolerance  # autocast was on
    assert found.max_difference <= 0.2


@pytest.mark.skipif(not can_prepack(), reason="this oneDNN has no bfloat16 linear")
@pytest.mark.parametrize("family", FAMILIES)
def test_prepacked_weights_give_the_plain_logits(family):
    padded, lengths = stack(waves(16_000, 5_000))

    plain = exact(family, dtype="bfloat16")(padded, lengths)
    packed = exact(family, dtype="bfloat16", prepack=True)(padded, lengths)

    # The fused GELU rounds once where the plain one rounds twice.
    assert (plain - packed)[1, :15].abs().max() <= 0.1


def test_prepacking_in_float32_is_refused():
    with pytest.raises(ConfigError, match=r"float32 on cpu.*leave prepack off"):
        exact("group", prepack=True)


@pytest.mark.parametrize("num_samples", [80, 399, 16_000, 16_081])
def test_a_shape_that_is_no_bucket_is_refused(num_samples):
    forward = exact("group")

    with pytest.raises(BucketOverflowError, match=f"{num_samples} samples a row.*Bucket.holding"):
        forward(torch.zeros(1, num_samples), torch.tensor([400], dtype=torch.int32))


def test_the_checkpoint_is_left_alone():
    """Ours moves and changes its weights without the checkpoint's noticing."""
    module = small_model("group")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    forward = exact("group")
    for buffer in forward.buffers():
        buffer.zero_()

    after = module.state_dict()

    assert all(torch.equal(before[name], after[name]) for name in before)


def test_all_weights_are_buffers():
    """What is no buffer does not follow the module to its device, nor into a capture."""
    forward = exact("layer").to("meta")
    loose = [
        name
        for module in forward.modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    ]

    assert isinstance(forward, ExactForward)
    assert loose == []
    assert {buffer.device.type for buffer in forward.buffers()} == {"meta"}
