"""Stub packages ``habana_frameworks.torch...`` so that product imports stay as they are."""

from __future__ import annotations

import contextlib
import copy
import importlib.machinery
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.hpusim import hpu_graphs, torch_hpu
from tests.hpusim.metrics import Metric, Stats
from tests.hpusim.runtime import ACTIVE

__all__ = ["install"]

ROOT = "habana_frameworks"


def mark_step(device_str: str = "", sync: bool = False) -> None:
    """End the lazy segment; ``sync`` waits for the host's launches, not for the device."""
    rt = ACTIVE.rt
    if not rt.config.lazy:
        warnings.warn("mark_step() has no effect in eager mode", stacklevel=2)
    elif sync:
        rt.join()
    else:
        rt.close_segment()


def metric_global(name: str) -> Metric | None:
    """Return the process-wide metric; None where it is unknown."""
    return ACTIVE.rt.metrics.by_name.get(name)


class MetricNotFound(Exception):  # noqa: N818 - the bridge's name
    """There is no metric of that name."""


class _LocalMetric:
    """A metric over the time of its context, which goes on until it is left."""

    def __init__(self, metric: Metric) -> None:
        self._metric, self._before = metric, copy.deepcopy(metric)
        self._after: Metric | None = None

    def close(self) -> None:
        self._after = copy.deepcopy(self._metric)

    def name(self) -> str:
        return self._metric.name()

    def stats(self) -> Stats:
        return (self._after or self._metric).since(self._before).stats()


@contextlib.contextmanager
def metric_localcontext(name: str) -> Iterator[_LocalMetric]:
    """Count what happens in the context only."""
    metric = metric_global(name)
    if metric is None:
        raise MetricNotFound(name)
    local = _LocalMetric(metric)
    try:
        yield local
    finally:
        local.close()


def metrics_dump() -> None:
    """Write all metrics to the file that PT_HPU_METRICS_FILE names; nothing where it is unset."""
    path = os.environ.get("PT_HPU_METRICS_FILE")
    if path:
        found = {name: dict(metric.stats()) for name, metric in ACTIVE.rt.metrics.by_name.items()}
        Path(path).write_text(json.dumps(found))


def _module(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    module.__dict__.update(attributes)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def install() -> None:
    """Put the packages into ``sys.modules``."""
    _module(ROOT)
    package = _module(f"{ROOT}.torch")
    _module(f"{ROOT}.torch.core", mark_step=mark_step)
    _module(f"{ROOT}.torch.utils")
    _module(f"{ROOT}.torch.utils.internal", is_lazy=torch_hpu.is_lazy)
    sys.modules[f"{ROOT}.torch.hpu"] = torch_hpu
    package.hpu = torch_hpu
    sys.modules[f"{ROOT}.torch.hpu.graphs"] = hpu_graphs
    torch_hpu.graphs = hpu_graphs
    torch_hpu.metrics = _module(
        f"{ROOT}.torch.hpu.metrics",
        metric_global=metric_global,
        metric_localcontext=metric_localcontext,
        metrics_dump=metrics_dump,
        MetricNotFound=MetricNotFound,
    )
