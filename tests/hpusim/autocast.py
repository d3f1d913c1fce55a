"""AutocastHPU: stock PyTorch has the key, but neither kernels nor a fallthrough for it.

The lists are the bridge's defaults (release 1.19), restricted to what exists in aten.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet

from tests.hpusim import guard

__all__ = ["FP32_OPS", "LOWER_PRECISION_OPS", "register"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOWER_PRECISION_OPS = _names(
    "addmm addbmm batch_norm baddbmm bmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d "
    "conv_transpose3d dot dropout feature_dropout group_norm instance_norm layer_norm leaky_relu "
    "linear matmul mean mm mul mv softmax log_softmax scaled_dot_product_attention"
)
FP32_OPS = _names(
    "acos addcdiv asin atan2 bilinear binary_cross_entropy binary_cross_entropy_with_logits cdist "
    "cosh cosine_embedding_loss cosine_similarity cross_entropy_loss dist div divide embedding "
    "embedding_bag erfinv exp expm1 hinge_embedding_loss huber_loss kl_div l1_loss log log10 log1p "
    "log2 logsumexp margin_ranking_loss mse_loss nll_loss norm pdist poisson_nll_loss pow "
    "reciprocal renorm rsqrt sinh smooth_l1_loss soft_margin_loss softplus tan topk "
    "triplet_margin_loss truediv true_divide"
)
FIRST_ARGUMENT_ONLY = frozenset({"batch_norm", "group_norm", "instance_norm", "layer_norm"})
_libraries: list[torch.library.Library] = []


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        castable = (
            value.is_floating_point()
            and value.device.type == "hpu"
            and value.dtype not in (torch.float64, dtype)
        )
        return value.to(dtype) if castable else value
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def register() -> None:
    """Register the fallthrough and both lists; once per process."""
    if _libraries:
        return
    boxed = torch.library.Library("_", "IMPL")
    library = torch.library.Library("aten", "IMPL")
    _libraries.extend([boxed, library])
    boxed.fallback(torch.library.fallthrough_kernel, guard.AUTOCAST_KEY)
    for name in sorted(LOWER_PRECISION_OPS | FP32_OPS):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            op = getattr(packet, overload)
            if not op._schema.is_mutable and "Dimname" not in str(op._schema):
                _register_one(library, op, name, overload)


def _register_one(library: torch.library.Library, op: Any, name: str, overload: str) -> None:
    lower = name in LOWER_PRECISION_OPS
    first_only = name in FIRST_ARGUMENT_ONLY
    excluded = DispatchKeySet(getattr(DispatchKey, guard.AUTOCAST_KEY))

    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype("hpu") if lower else torch.float32
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            if first_only:
                return op(_cast(args[0], dtype), *args[1:], **kwargs)
            cast_kwargs = {key: _cast(value, dtype) for key, value in kwargs.items()}
            return op(*(_cast(value, dtype) for value in args), **cast_kwargs)

    library.impl(
        name if overload == "default" else f"{name}.{overload}", kernel, guard.AUTOCAST_KEY
    )
