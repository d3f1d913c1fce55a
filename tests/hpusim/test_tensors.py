"""Device tensors are plain tensors, and what they hold equals the CPU's bit for bit."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from tests.helpers.checkpoints import make_module
from tests.hpusim import Config, Runtime, SimError, fresh
from tests.hpusim.autocast import FP32_OPS, LOWER_PRECISION_OPS
from w2v_core.model.forward import build_forward

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


def test_tensor_is_a_plain_tensor_on_hpu(hpu: Runtime) -> None:
    x = torch.ones(2, 3, device="hpu")
    assert type(x) is torch.Tensor
    assert (x.device.type, x.is_hpu) == ("hpu", True)


def test_uninitialised_memory_is_poison(hpu: Runtime) -> None:
    assert torch.empty(3, device="hpu").isnan().cpu().all()


def test_address_is_never_dereferenceable(hpu: Runtime) -> None:
    assert torch.ones(3, device="hpu").data_ptr() >= 1 << 56


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(lambda x: x[:, 1:3].t().contiguous(), id="view"),
        pytest.param(lambda x: x.view(-1, 2).sum(-1), id="reshape"),
        pytest.param(lambda x: x.masked_fill(x > 0, 7.0), id="mask"),
        pytest.param(lambda x: x[x > 0], id="data-dependent"),
        pytest.param(lambda x: torch.cat([x, x], dim=1).softmax(-1), id="cat"),
        pytest.param(lambda x: x.max(dim=-1)[1], id="tuple"),
        pytest.param(lambda x: x.clone().mul_(2).add_(1), id="in-place"),
        pytest.param(lambda x: torch.add(x, 1, out=torch.empty(0, device=x.device)), id="out"),
        pytest.param(lambda x: list(x.unbind(0))[1], id="list"),
        pytest.param(lambda x: torch.where(x > 0, x, torch.zeros((), device=x.device)), id="where"),
        pytest.param(lambda x: x.to(torch.bfloat16).view(torch.int16), id="reinterpret"),
    ],
)
def test_result_equals_the_cpus(hpu: Runtime, operation) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(operation(x.to("hpu")).cpu(), operation(x))


def test_operands_on_two_devices_are_refused(hpu: Runtime) -> None:
    with pytest.raises(RuntimeError, match="at least two devices"):
        _ = torch.ones(2).to("hpu") + torch.ones(2)


def test_module_moves_and_its_copy_is_independent(hpu: Runtime) -> None:
    module = torch.nn.Linear(2, 2).to("hpu")
    twin = copy.deepcopy(module)
    with torch.no_grad():
        module.weight.zero_()
    assert twin.weight.cpu().abs().sum() > 0


def test_checkpoint_saved_from_the_device_loads_on_it(hpu: Runtime) -> None:
    buffer = io.BytesIO()
    torch.save({"x": torch.arange(3.0).to("hpu")}, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)["x"]
    assert loaded.is_hpu
    assert loaded.cpu().tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("family", ["group", "layer"])
@pytest.mark.parametrize("way", ["op by op", "replay"])
def test_wav2vec2_logits_equal_the_cpus_bit_for_bit(hpu: Runtime, family: str, way: str) -> None:
    import habana_frameworks.torch as ht

    on_host, on_device = make_module(family=family), make_module(family=family).to("hpu")
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        run = ht.hpu.wrap_in_hpu_graph(on_device) if way == "replay" else on_device
        for _ in range(3):  # capture, then two replays
            x = torch.randn(2, 4000, generator=generator)
            assert torch.equal(run(x.to("hpu")).logits.cpu(), on_host(x).logits)


def test_attention_mask_path_is_equal_too(hpu: Runtime) -> None:
    on_host, on_device = make_module(family="layer"), make_module(family="layer").to("hpu")
    x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(4000) < torch.tensor([[4000], [2500]])).long()
    with torch.inference_mode():
        found = on_device(x.to("hpu"), attention_mask=mask.to("hpu")).logits.cpu()
        assert torch.equal(found, on_host(x, attention_mask=mask).logits)


# ------------------------------------------------------------------ autocast


@pytest.mark.parametrize(
    ("operation", "dtype"),
    [
        pytest.param(lambda x: x @ x, torch.bfloat16, id="matmul-lower"),
        pytest.param(
            lambda x: torch.nn.functional.layer_norm(x, (2,)), torch.bfloat16, id="layer-norm-lower"
        ),
        pytest.param(lambda x: x.to(torch.bfloat16).exp(), torch.float32, id="exp-fp32"),
        pytest.param(lambda x: x + 1, torch.float32, id="add-untouched"),
    ],
)
def test_autocast_follows_the_bridges_lists(hpu: Runtime, operation, dtype) -> None:  # type: ignore[no-untyped-def]
    x = torch.ones(2, 2).to("hpu")
    with torch.autocast("hpu", dtype=torch.bfloat16):
        assert operation(x).dtype is dtype


def test_norms_cast_their_first_argument_only(hpu: Runtime) -> None:
    norm = torch.nn.LayerNorm(2).to("hpu")
    with torch.inference_mode(), torch.autocast("hpu", dtype=torch.bfloat16):
        x = torch.ones(1, 2).to("hpu")
        before = hpu.op_counts["_to_copy"]
        assert norm(x).dtype is torch.bfloat16
    assert hpu.op_counts["_to_copy"] == before + 1  # the weight and bias stay float32


def test_autocast_lists_are_disjoint() -> None:
    assert not LOWER_PRECISION_OPS & FP32_OPS


def test_forbidden_op_is_not_supported() -> None:
    with fresh(Config(forbidden_ops=frozenset({"erf"}))):
        x = torch.ones(2).to("hpu")
        with pytest.raises(SimError, match="erf is not supported on HPU"):
            torch.erf(x)


@pytest.mark.parametrize("family", ["group", "layer"])
def test_autocast_leaves_the_residual_stream_and_the_head_alone(hpu: Runtime, family: str) -> None:
    """Gaudi's list runs layer norm in bfloat16, which would round the rows twice a layer."""
    forward = build_forward(
        make_module(family=family), name="exact", dtype="float32", device=torch.device("hpu")
    )
    seen: list[torch.dtype] = []
    for layer in forward.encoder.layers:
        layer.register_forward_hook(lambda _, rows, out: seen.extend((rows[0].dtype, out.dtype)))
    forward.encoder.head.register_forward_hook(lambda _, rows, out: seen.append(out.dtype))
    waveforms = torch.randn(1, 320 * 20 + 80).to("hpu")

    with torch.inference_mode(), torch.autocast("hpu", torch.bfloat16):
        forward(waveforms, torch.tensor([6_000], dtype=torch.int32).to("hpu"))

    assert set(seen) == {torch.float32}
