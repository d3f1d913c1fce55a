"""What identifies a Gaudi and its software, and what it draws: read-only, every reader optional."""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["card_state", "firmware", "first_card", "parse_hl_smi", "query_hl_smi", "software"]

FIELDS = (
    "index",
    "uuid",
    "name",
    "driver_version",
    "module_id",
    "bus_id",
    "memory.total",
    "memory.used",
    "memory.free",
    "power.draw",
    "power.max",
    "temperature.aip",
    "utilization.aip",
)
ACCEL_ROOTS = (Path("/sys/class/accel"), Path("/sys/class/habanalabs"))  # older drivers: the latter
FIRMWARE_FILES = {
    "firmware": "armcp_kernel_ver",
    "firmware_boot": "uboot_ver",
    "module_id": "module_id",
}
SMI_TIMEOUT_S = 10.0

Values = dict[str, str | int | float | None]


def software() -> Values:
    """Return the plugin's version, whose first three parts are the SynapseAI release."""
    try:
        plugin: str | None = importlib.metadata.version("habana-torch-plugin")
    except importlib.metadata.PackageNotFoundError:
        plugin = None
    return {"synapse_build": plugin}


def firmware(roots: tuple[Path, ...] = ACCEL_ROOTS) -> Values:
    """Read firmware versions and module id of the first card from sysfs."""
    for root in roots:
        for device in sorted(root.glob("*/device")):
            found: Values = {key: _read(device / name) for key, name in FIRMWARE_FILES.items()}
            if any(found.values()):
                return found
    return {}


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def parse_hl_smi(text: str) -> list[dict[str, str]]:
    """Turn ``hl-smi -Q ... -f csv,noheader`` into a mapping by card; values keep their units."""
    rows = csv.reader(text.strip().splitlines(), skipinitialspace=True)
    return [
        dict(zip(FIELDS, (value.strip() for value in row), strict=True))
        for row in rows
        if len(row) == len(FIELDS)
    ]


def query_hl_smi(
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run,
) -> list[dict[str, str]]:
    """Ask hl-smi; empty where it is absent or fails. Blocks for its process."""
    command = ["hl-smi", "-Q", ",".join(FIELDS), "-f", "csv,noheader"]
    try:
        done = run(command, check=True, capture_output=True, text=True, timeout=SMI_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_hl_smi(done.stdout)


def card_state(load: Callable[[], Any] | None = None) -> Values:
    """Read power (W), utilisation (fraction) and memory (bytes) through pyhlml.

    Empty where pyhlml or libhlml.so is absent. pyhlml is of the extra ``hpu``.
    """
    try:
        hlml = load() if load is not None else importlib.import_module("pyhlml")
        hlml.hlmlInit()
    except Exception:  # noqa: BLE001 - HLMLError of a plain host is known to pyhlml alone
        return {}
    try:
        card = hlml.hlmlDeviceGetHandleByIndex(0)
        memory = hlml.hlmlDeviceGetMemoryInfo(card)
        return {
            "card_power_w": hlml.hlmlDeviceGetPowerUsage(card) / 1000,  # pyhlml: mW
            "card_utilization": hlml.hlmlDeviceGetUtilizationRates(card).aip / 100,
            "card_memory_total_bytes": int(memory.total),
            "card_memory_used_bytes": int(memory.used),
            "hlml_driver": _text(hlml.hlmlGetDriverVersion()),
            "firmware_spi": _text(hlml.hlmlDeviceGetFirmwareSPIVersion(card)),
        }
    except Exception:  # noqa: BLE001
        return {}
    finally:
        hlml.hlmlShutdown()


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def first_card(cards: list[dict[str, str]]) -> Values:
    """Return the identity fields of the first card that hl-smi lists."""
    if not cards:
        return {}
    card: Mapping[str, str] = cards[0]
    return {
        "card": card["name"],
        "card_uuid": card["uuid"],
        "module_id": card["module_id"],
        "driver": card["driver_version"],
    }
