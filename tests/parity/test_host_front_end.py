"""The host's taps: the library's own convolution, whatever they save."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from w2v_core.model.host import _HostTaps
from w2v_core.model.layers import Taps

CHANNELS = 24


def convolution(kernel: int, *, bias: bool) -> nn.Conv1d:
    torch.manual_seed(kernel)
    made = nn.Conv1d(CHANNELS, CHANNELS, kernel, stride=2, bias=bias)
    return made.requires_grad_(requires_grad=False)


def expected(source: nn.Conv1d, rows: torch.Tensor) -> torch.Tensor:
    """Convolve in float64."""
    bias = None if source.bias is None else source.bias.double()
    channels = rows.double().t()[None]
    return F.conv1d(channels, source.weight.double(), bias, stride=2)[0].t()


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7, 8, 9, 10, 11, 79, 80, 81, 82])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
def test_taps_are_the_convolution(count, kernel, bias):
    source = convolution(kernel, bias=bias)
    rows = torch.randn(count, CHANNELS)
    wanted = expected(source, rows)
    found = _HostTaps(Taps(source, dtype=torch.float32))(rows)

    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


def added(_, left, right, *, out_shape, **__):
    """Count what ``addmm_`` computes; torch's counter knows only ``addmm``."""
    return 2 * left[0] * left[1] * right[1]


def test_pairs_of_outputs_share_a_product():
    source = convolution(3, bias=False)
    taps = _HostTaps(Taps(source, dtype=torch.float32))
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added}) as counter:
        taps(torch.randn(9, CHANNELS))

    assert counter.get_total_flops() == 2 * 4 * 2.5 * CHANNELS**2  # 4 outputs, 3 products each


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float32, True), (torch.bfloat16, False)])
def test_bfloat16_is_not_rounded_once_more(dtype, autocast):
    plain = Taps(convolution(3, bias=True), dtype=dtype)
    rows = torch.randn(41, CHANNELS, dtype=dtype)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        assert torch.equal(_HostTaps(plain)(rows.clone()), plain(rows, in_place=True))
