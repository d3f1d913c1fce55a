"""Which checkpoints the exact forward accepts, and how it keeps their weights."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.backends.processor import held_by_onednn
from w2v_core.errors import CheckpointError

Family = Literal["group", "layer"]

PREPACK_ROWS = 512  # rows the blocked layout is tuned for; any number of rows is accepted

# What both families share. Kernels and strides are what FRAME_STRIDE and RECEPTIVE_FIELD stand for.
_SHARED: dict[str, Any] = {
    "model_type": "wav2vec2",
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_feat_extract_layers": 7,
    "feat_extract_activation": "gelu",
    "hidden_act": "gelu",
    "add_adapter": False,
    "adapter_attn_dim": None,
    "conv_pos_batch_norm": False,
}
_BY_FAMILY: dict[Family, dict[str, Any]] = {
    "group": {"conv_bias": False, "do_stable_layer_norm": False},
    "layer": {"conv_bias": True, "do_stable_layer_norm": True},
}


def check_family(config: Any) -> Family:  # noqa: ANN401 - Wav2Vec2Config, an untyped class
    """Return ``group`` (base-960h, post-LN) or ``layer`` (large-lv60, stable layer norm).

    Args:
        config: A transformers Wav2Vec2Config. A field that its version lacks has the value here.

    Raises:
        CheckpointError: naming the field outside both families, its value and what is supported.
    """
    norm = getattr(config, "feat_extract_norm", None)
    if norm not in _BY_FAMILY:
        raise CheckpointError(
            f"config.feat_extract_norm is {norm!r}; supported are {' and '.join(_BY_FAMILY)}"
        )
    family: Family = norm
    for field, supported in {**_SHARED, **_BY_FAMILY[family]}.items():
        value = getattr(config, field, supported)
        value = list(value) if isinstance(value, tuple) else value
        if value != supported:
            raise CheckpointError(
                f"config.{field} is {value!r}; supported is {supported!r} where "
                f"feat_extract_norm is {family!r}; {{use:forward stock}} for this checkpoint"
            )
    return family


def multiplies_bfloat16() -> bool:
    """Return whether oneDNN multiplies bfloat16 matrices here, on x86 from AVX512 on."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is not None and held_by_onednn() != "AVX2" and bool(asked())


def can_prepack() -> bool:
    """Return whether this torch and processor have oneDNN's prepacked bfloat16 linear."""
    names = ("_linear_pointwise", "_reorder_linear_weight")
    has_ops = all(hasattr(torch.ops.mkldnn, name) for name in names)
    return torch.backends.mkldnn.is_available() and has_ops and multiplies_bfloat16()


_WIDENS = platform.machine() in ("x86_64", "AMD64") and not multiplies_bfloat16()
"""Without oneDNN's products the library's own run at a tenth of float32's speed."""


def product(operation: Callable[..., torch.Tensor], *operands: Any) -> torch.Tensor:  # noqa: ANN401
    """Return ``operation(*operands)``, a product of matrices, in the dtype of its operands.

    A host without bfloat16 arithmetic computes it in float32, where products of bfloat16 values are
    exact, and rounds the sums: what the instructions do, apart from the order of the sums.
    """
    if not _widened(operands[0]):
        return operation(*operands)
    wide = (o.float() if isinstance(o, torch.Tensor) else o for o in operands)
    return operation(*wide).to(torch.bfloat16)


def _widened(tensor: torch.Tensor) -> bool:
    return _WIDENS and tensor.device.type == "cpu" and tensor.dtype == torch.bfloat16


def products(dtype: torch.dtype, *, prepack: bool) -> str:
    """Say which kernels compute the matrix products on a host, for the record."""
    if prepack:
        return "products oneDNN, prepacked"
    return "products torch" + (", in float32" if dtype == torch.bfloat16 and _WIDENS else "")


def frozen(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Copy a weight, so that moving ours to a device leaves the checkpoint's module alone."""
    return tensor.detach().to(dtype=dtype, copy=True).contiguous()


def folded(source: nn.Conv1d) -> torch.Tensor:
    """Return a convolution's weight with its weight norm; alike whatever the number of threads.

    Reading ``.weight`` computes the norm, whichever way a version of torch stores it, and shares
    its sums among the threads, whose number would show in the last bits.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return source.weight.detach()
    finally:
        torch.set_num_threads(threads)


def no_autocast(device_type: str) -> contextlib.AbstractContextManager[object]:
    """Keep what runs in it in its own dtype where the caller runs under autocast."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return contextlib.nullcontext()


class Linear(nn.Module):
    """An affine map (N, I) -> (N, O), with exact GELU behind it where asked.

    Prepacked weights are oneDNN tensors: they stay on the host and are no buffers.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self,
        *sources: nn.Linear,
        dtype: torch.dtype,
        gelu: bool = False,
        prepack: bool = False,
    ) -> None:
        """Join the outputs of ``sources``; they read the same input."""
        super().__init__()
        weight = frozen(torch.cat([source.weight for source in sources]), dtype)
        self.register_buffer("bias", frozen(torch.cat([s.bias for s in sources]), dtype))
        self.gelu = gelu
        self._packed: torch.Tensor | None = None
        if prepack:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, PREPACK_ROWS)
        else:
            self.register_buffer("weight", weight)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (N, I) to (N, O)."""
        if self._packed is not None:
            act, algorithm = ("gelu", "none") if self.gelu else ("none", "")
            packed: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
                rows, self._packed, self.bias, act, [], algorithm
            )
            return packed
        result = product(F.linear, rows, self.weight, self.bias)
        return F.gelu(result) if self.gelu else result


class LayerNorm(nn.Module):
    """Layer norm over the last dimension with frozen weights, in their dtype under autocast too."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, source: nn.LayerNorm, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", frozen(source.weight, dtype))
        self.register_buffer("bias", frozen(source.bias, dtype))
        self.eps = source.eps

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Normalise (..., H)."""
        with no_autocast(rows.device.type):  # Gaudi's lists would round the residual stream
            rows = rows.to(self.weight.dtype)
            return F.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.eps)


class Taps(nn.Module):
    """A convolution of stride 2 and kernel 2 or 3 as matrix products on channels-last rows.

    Kernel and stride make two neighbouring input rows one row of a matrix, without a copy; a third
    tap is the first half of the next row. Rows of all utterances lie in one matrix, so the last
    output of each utterance reads into the next one: that row is the bucket's spare frame.
    """

    pair: torch.Tensor
    third: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(self, source: nn.Conv1d, *, dtype: torch.dtype) -> None:
        super().__init__()
        weight = source.weight.detach()  # (O, C, K)
        self.channels = weight.shape[1]
        pair = weight[:, :, :2].permute(0, 2, 1).reshape(weight.shape[0], -1)
        self.register_buffer("pair", frozen(pair, dtype))
        has_third = weight.shape[2] > 2  # a kernel of 3, not 2
        third = frozen(weight[:, :, 2].t(), dtype) if has_third else None
        self.register_buffer("third", third)
        bias = None if source.bias is None else frozen(source.bias, dtype)
        self.register_buffer("bias", bias)

    def forward(self, rows: torch.Tensor, *, in_place: bool = False) -> torch.Tensor:
        """Map (N, C) to ((N - K) // 2 + 1, O), as the convolution over all N rows would.

        With ``in_place`` the third tap is added without a copy; it is for the host.
        """
        kernel = 2 if self.third is None else 3
        count = (rows.shape[0] - kernel) // 2 + 1
        pairs = rows[: 2 * count].view(count, 2 * self.channels)
        result = product(F.linear, pairs, self.pair, self.bias)
        if self.third is None:
            return result
        others = rows[2 : 2 * count + 1 : 2]
        if in_place and not _widened(result):  # autocast leaves operations in place alone
            return result.addmm_(others.to(result.dtype), self.third.to(result.dtype))
        return product(torch.addmm, result, others, self.third)
