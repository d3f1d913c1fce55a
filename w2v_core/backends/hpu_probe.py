"""Whether there is a Gaudi that can be used, and if not, what is missing and what to install."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from w2v_core._moved import names_of
from w2v_core.backends.hpu_environment import (
    BRIDGE,
    MODULE_IDS,
    bridge_installed,
    effective_environment,
    prepare_environment,
    torch_family,
    vendor_warnings,
)
from w2v_core.backends.hpu_telemetry import software

DRIVER = Path("/sys/module/habanalabs/version")
INSTALL = (
    "install habana-torch-plugin with SynapseAI's habanalabs-installer.sh, or use the vendor's "
    "PyTorch container for Gaudi (the plugin is not on PyPI)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The parts of the Habana bridge that a backend calls."""

    hpu: Any
    """``habana_frameworks.torch.hpu``, which is also ``torch.hpu``."""
    mark_step: Callable[[], None]
    metric_global: Callable[[str], Any]
    is_lazy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a probe saw, in the order in which it looked."""

    missing: str | None
    """What is missing; None where the device can be used."""
    remedy: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the device can be used."""
        return self.missing is None

    @property
    def lines(self) -> tuple[str, ...]:
        """The whole finding, a line each."""
        found = [f"{name}: {value}" for name, value in self.facts.items()]
        if self.missing is not None:
            found += [f"missing: {self.missing}", f"remedy: {self.remedy}"]
        return tuple(found)

    def __str__(self) -> str:
        """What is missing and what to do, in one line."""
        return f"{self.missing}; {self.remedy}" if self.missing else "available"


def load_bridge() -> Bridge:
    """Import the bridge; where nobody has chosen an execution mode yet, it is chosen here.

    Raises:
        ImportError: it is absent, or a library it needs is.
        AssertionError: it does not fit the installed torch (the bridge asserts, it does not raise).
    """
    if BRIDGE not in sys.modules:
        prepare_environment()
    with vendor_warnings():
        hpu = importlib.import_module(f"{BRIDGE}.hpu")
        core = importlib.import_module(f"{BRIDGE}.core")
        metrics = importlib.import_module(f"{BRIDGE}.hpu.metrics")
        internal = importlib.import_module(f"{BRIDGE}.utils.internal")
    return Bridge(
        hpu=hpu,
        mark_step=core.mark_step,
        metric_global=metrics.metric_global,
        is_lazy=bool(internal.is_lazy()),
    )


def probe_hpu(
    *,
    installed: Callable[[], bool] = bridge_installed,
    load: Callable[[], Bridge] = load_bridge,
    driver: Path = DRIVER,
) -> Probe:
    """Look for driver, plugin, matching torch and a card, without acquiring the card."""
    facts = {"driver": _driver_version(driver)}
    if not installed():
        facts["plugin"] = f"{BRIDGE} not found"
        return Probe(missing="the Habana plugin for PyTorch", remedy=INSTALL, facts=facts)
    try:
        bridge = load()
    except (AssertionError, AttributeError) as error:
        # 1.19 looks into the local part of torch's version, which stock torch need not have.
        facts["plugin"] = f"refused this torch: {error}"
        return Probe(
            missing=f"a torch that fits the Habana plugin (this one is {_torch_version()})",
            remedy="install the torch that came with the plugin, or use its container; lazy mode "
            "(PT_HPU_LAZY_MODE=1) needs Habana's own build of torch",
            facts=facts,
        )
    except Exception as error:  # noqa: BLE001 - a broken installation fails in many ways
        facts["plugin"] = f"cannot be imported: {type(error).__name__}: {error}"
        return Probe(missing="a library that the Habana plugin needs", remedy=INSTALL, facts=facts)
    facts["plugin"] = str(software()["synapse_build"] or "version unknown")
    facts["torch"] = f"{_torch_version()} ({torch_family() or 'unknown'})"
    facts["execution"] = "lazy" if bridge.is_lazy else "eager"
    facts.update(effective_environment())
    count = int(bridge.hpu.device_count()) if bridge.hpu.is_available() else 0
    facts["cards"] = str(count)
    if count == 0:
        return Probe(
            missing="a Gaudi card that the driver shows",
            remedy="check `hl-smi` and `lsmod | grep habanalabs`; in a container start it with "
            "--runtime=habana -e HABANA_VISIBLE_DEVICES=all; HABANA_VISIBLE_MODULES, where set, "
            f"takes module ids, {MODULE_IDS}",
            facts=facts,
        )
    return Probe(missing=None, facts=facts)


def _driver_version(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "not loaded"


def _torch_version() -> str:
    torch: ModuleType = importlib.import_module("torch")
    return str(torch.__version__)


if not TYPE_CHECKING:
    __getattr__ = names_of("backends.hpu_probe", ["backends.hpu_probe"])
