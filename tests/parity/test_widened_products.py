"""bfloat16 on a host without instructions for it: products in float32, rounded once."""

import pytest
import torch
import torch.nn.functional as F

from w2v_core.model import layers

ROWS = torch.randn(37, 96, generator=torch.Generator().manual_seed(1)).bfloat16()
WEIGHT = torch.randn(24, 96, generator=torch.Generator().manual_seed(2)).bfloat16()
BIAS = torch.randn(24, generator=torch.Generator().manual_seed(3)).bfloat16()


@pytest.fixture(params=[True, False], ids=["widened", "native"])
def widens(request, monkeypatch):
    """A host of either kind."""
    monkeypatch.setattr(layers, "_WIDENS", request.param)


def test_a_product_is_the_exact_one_rounded_once(widens):
    """Either way a sum is off by no more than half a step of bfloat16, plus float32's own error."""
    exact = F.linear(ROWS.double(), WEIGHT.double(), BIAS.double())

    result = layers.product(F.linear, ROWS, WEIGHT, BIAS)

    assert result.dtype == torch.bfloat16
    assert ((result.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-4).all()


def test_what_is_no_bfloat16_is_left_alone(monkeypatch):
    """float32 products are the library's own, to the bit."""
    monkeypatch.setattr(layers, "_WIDENS", True)
    rows, weight = ROWS.float(), WEIGHT.float()

    assert torch.equal(layers.product(F.linear, rows, weight, None), F.linear(rows, weight))


@pytest.mark.parametrize("isa", ["AVX2", "avx2", "SSE41"])
def test_an_instruction_set_held_back_counts_as_missing(monkeypatch, isa):
    """oneDNN is told by ONEDNN_MAX_CPU_ISA, so what it says about the processor does not hold."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)

    assert not layers.multiplies_bfloat16()
    assert not layers.can_prepack()
