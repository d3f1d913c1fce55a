"""The facts that ``w2v doctor`` judges. Looks only; a fact that cannot be read is None."""

from __future__ import annotations

import platform
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from w2v_core.backends.base import GraphSupport
from w2v_core.commands import proc
from w2v_core.config import DeviceChoice
from w2v_core.errors import DeviceError
from w2v_core.records.fingerprint import GOVERNOR, PACKAGES
from w2v_core.system import read, version_of
from w2v_core.types import DTYPES

if TYPE_CHECKING:
    from w2v_core.backends.base import Backend

HUB_WAIT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found."""

    choice: DeviceChoice
    """The device that was asked for."""
    devices: Mapping[DeviceChoice, str | None]
    """Why each is missing; None where it is there."""
    device_error: str | None = None
    """Why the chosen device cannot be opened."""
    device_name: str | None = None
    device_facts: Mapping[str, str | int | float | None] = field(default_factory=dict)
    """The backend's fingerprint: driver, firmware, versions."""
    hpu_probe: tuple[str, ...] = ()
    """All that was seen while looking for a Gaudi, in order."""
    graphs: Mapping[str, GraphSupport] = field(default_factory=dict)
    """By dtype; empty where no device was opened."""
    is_pinned: bool | None = None
    """Whether host buffers are; None where copies are synchronous anyway."""
    versions: Mapping[str, str | None]
    hub_error: str | None
    """Why the hub cannot be reached; None where it answers."""
    cached: tuple[str, ...]
    not_cached: tuple[str, ...]
    fetched_by: tuple[str, ...] = ()
    """The commands that fetch what is not cached."""
    memory_available_bytes: int | None
    disk_free_bytes: int | None
    governor: str | None
    turbo: bool | None = None
    swap_used_bytes: int | None = None
    steal: float | None = None
    """Fraction of processor time since boot that a hypervisor gave to others."""
    busiest: tuple[tuple[str, float], ...] = ()
    """Other processes that compute now, and the processors each uses, busiest first."""
    load_1min: float | None
    cpus_usable: int
    cpu_quota: float | None
    """Processors that the container may use; None without a limit."""
    num_threads: int
    bfloat16_emulated: str | None = None
    """Why bfloat16 says nothing about speed on the host; None where it is native."""


def gather(choice: DeviceChoice) -> Facts:
    """Look at the machine; opens the device, and waits at most two seconds for the hub."""
    import torch

    from w2v_core.backends.hpu_probe import probe_hpu
    from w2v_core.backends.processor import why_bfloat16_is_emulated
    from w2v_core.engine.devices import available_devices, open_backend

    error, backend = None, None
    try:
        backend = open_backend(choice)
    except DeviceError as reason:
        error = str(reason)
    cached, not_cached, fetched_by = _cached()
    return Facts(
        choice=choice,
        devices=available_devices(),
        device_error=error,
        device_name=backend.device_name if backend is not None else None,
        device_facts=backend.fingerprint() if backend is not None else {},
        hpu_probe=probe_hpu().lines,
        graphs={d: backend.graph_support(d) for d in DTYPES} if backend is not None else {},
        is_pinned=_is_pinned(backend),
        versions={"python": platform.python_version(), **{p: version_of(p) for p in PACKAGES}},
        hub_error=hub_error(),
        cached=cached,
        not_cached=not_cached,
        fetched_by=fetched_by,
        memory_available_bytes=proc.memory_available_bytes(),
        disk_free_bytes=shutil.disk_usage(Path.cwd()).free,
        governor=read(GOVERNOR),
        turbo=proc.turbo(),
        swap_used_bytes=proc.swap_used_bytes(),
        steal=proc.steal(),
        busiest=proc.busiest(),
        load_1min=psutil.getloadavg()[0],
        cpus_usable=proc.usable_cpus(),
        cpu_quota=proc.cpu_quota(),
        num_threads=torch.get_num_threads(),
        bfloat16_emulated=why_bfloat16_is_emulated(),
    )


def hub_error(*, wait_s: float = HUB_WAIT_S) -> str | None:
    """Ask the hub's front page; never blocks longer than ``wait_s``, name look-up included."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    answers: list[str | None] = []
    thread = threading.Thread(
        target=lambda: answers.append(_ask(constants.ENDPOINT, wait_s=wait_s)), daemon=True
    )
    thread.start()
    thread.join(wait_s)
    return answers[0] if answers else f"no answer within {wait_s:g} s"


def _ask(endpoint: str, *, wait_s: float) -> str | None:
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=wait_s):
            return None
    except urllib.error.HTTPError:
        return None  # it answered
    except (OSError, ValueError) as error:
        return str(error)


def _cached() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the models and datasets that are here, those that are not, and what fetches them."""
    from w2v_core.data import hub
    from w2v_core.data.catalog import DATASETS
    from w2v_core.model.catalog import MODELS
    from w2v_core.model.checkpoint_hub import download_command, why_not_loadable

    reasons = {name: why_not_loadable(spec) for name, spec in MODELS.items()}
    reasons.update({s.name: None if s.is_available() else "not cached" for s in DATASETS})
    here = tuple(name for name, reason in reasons.items() if reason is None)
    absent = [
        name if reason == "not cached" else f"{name} ({reason.removeprefix('not cached: ')})"
        for name, reason in reasons.items()
        if reason is not None
    ]
    commands = [download_command(spec) for name, spec in MODELS.items() if reasons[name]]
    commands += [hub.download_command(s.name, s.revision) for s in DATASETS if reasons[s.name]]
    return here, tuple(absent), tuple(commands)


def _is_pinned(backend: Backend | None) -> bool | None:
    if backend is None or not backend.asynchronous:
        return None
    import torch

    return bool(backend.host_buffer(16, torch.float32).is_pinned())
