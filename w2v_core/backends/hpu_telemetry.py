"""What identifies a Gaudi and its software, and what it draws: read-only, every reader optional.

A host has eight cards and a process has one of them. Which one, the open device file tells; where
it does not, a field is told only if all cards agree on it.
"""

from __future__ import annotations

import csv
import importlib
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from w2v_core.backends.hpu_environment import only_visible_module
from w2v_core.system import read, version_of

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
DESCRIPTORS = Path("/proc/self/fd")
DEVICE_FILE = re.compile(r"/dev/(?:accel/)?(?:accel|hl)(\d+)")  # not accel_controlD0, hl_controlD0
FIRMWARE_FILES = {
    "firmware": "armcp_kernel_ver",
    "firmware_boot": "uboot_ver",
    "module_id": "module_id",
}
SMI_TIMEOUT_S = 10.0

Values = dict[str, str | int | float | None]
SmiRun = Callable[..., subprocess.CompletedProcess[str]]


def acquired_fingerprint() -> Values:
    """Name the card that this process has, its firmware and state, and the SynapseAI build."""
    sysfs = firmware(acquired_card())
    module_id = str(sysfs.get("module_id") or "") or only_visible_module()
    return {
        **software(),
        **sysfs,
        "module_id": module_id,
        **hl_smi_card(query_hl_smi(), module_id),
        **card_state(module_id),
    }


def software() -> Values:
    """Return the plugin's version, whose first three parts are the SynapseAI release."""
    return {"synapse_build": version_of("habana-torch-plugin")}


def acquired_card(descriptors: Path = DESCRIPTORS) -> int | None:
    """Return the number of the card whose device file this process holds open; None without one."""
    for link in sorted(descriptors.glob("*")):
        try:
            found = DEVICE_FILE.fullmatch(str(link.readlink()))
        except OSError:  # closed meanwhile
            continue
        if found is not None:
            return int(found[1])
    return None


def firmware(card: int | None, roots: tuple[Path, ...] = ACCEL_ROOTS) -> Values:
    """Read firmware versions and module id of a card from sysfs."""
    numbered = "*[0-9]" if card is None else f"*[a-z]{card}"
    for root in roots:
        cards = []
        for device in sorted(root.glob(f"{numbered}/device")):
            found: Values = {key: read(device / name) for key, name in FIRMWARE_FILES.items()}
            if any(found.values()):
                cards.append(found)
        if cards:
            return _agreed(cards)
    return {}


def _agreed(cards: Sequence[Mapping[str, str | int | float | None]]) -> Values:
    """Return the fields that are the same on all cards."""
    return {
        key: value
        for key, value in cards[0].items()
        if all(card.get(key) == value for card in cards[1:])
    }


def parse_hl_smi(text: str, fields: Sequence[str] = FIELDS) -> list[dict[str, str]]:
    """Turn ``hl-smi -Q ... -f csv,noheader`` into a mapping by card; values keep their units."""
    rows = csv.reader(text.strip().splitlines(), skipinitialspace=True)
    return [
        dict(zip(fields, (value.strip() for value in row), strict=True))
        for row in rows
        if len(row) == len(fields)
    ]


def query_hl_smi(run: SmiRun = subprocess.run) -> list[dict[str, str]]:
    """Ask hl-smi; empty where it is absent or fails. Blocks for its process.

    hl-smi refuses a whole query for one field that its release does not know. The fields are then
    asked for one by one, and the cards lack those that it refuses.
    """
    try:
        return _ask_hl_smi(run, FIELDS)
    except (OSError, subprocess.TimeoutExpired):  # absent, or it answers nothing
        return []
    except subprocess.CalledProcessError:
        cards: dict[str, dict[str, str]] = {}
        for row in (row for name in FIELDS[1:] for row in _ask_one_field(run, name)):
            cards.setdefault(row["index"], {}).update(row)
        return list(cards.values())


def _ask_one_field(run: SmiRun, name: str) -> list[dict[str, str]]:
    try:
        return _ask_hl_smi(run, ("index", name))
    except (OSError, subprocess.SubprocessError):
        return []


def _ask_hl_smi(run: SmiRun, fields: Sequence[str]) -> list[dict[str, str]]:
    command = ["hl-smi", "-Q", ",".join(fields), "-f", "csv,noheader"]
    done = run(command, check=True, capture_output=True, text=True, timeout=SMI_TIMEOUT_S)
    return parse_hl_smi(done.stdout, fields)


def card_state(module_id: str | None, load: Callable[[], Any] | None = None) -> Values:
    """Read power (W), utilisation (fraction) and memory (bytes) through pyhlml.

    Empty where pyhlml or libhlml.so is absent, or several cards are there and none has this module
    id. pyhlml is of the extra ``hpu``.
    """
    try:
        hlml = load() if load is not None else importlib.import_module("pyhlml")
        hlml.hlmlInit()
    except Exception:  # noqa: BLE001 - HLMLError of a plain host is known to pyhlml alone
        return {}
    try:
        card = hlml_handle(hlml, module_id)
        if card is None:
            return {}
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


def hlml_handle(hlml: Any, module_id: str | None) -> Any | None:  # noqa: ANN401
    """Return pyhlml's handle of the card with this module id, or of the only card; else None."""
    handles = [hlml.hlmlDeviceGetHandleByIndex(i) for i in range(hlml.hlmlDeviceGetCount())]
    if len(handles) == 1:
        return handles[0]
    for handle in handles:
        if str(hlml.hlmlDeviceGetModuleID(handle)) == module_id:
            return handle
    return None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def hl_smi_card(cards: Sequence[Mapping[str, str]], module_id: str | None) -> Values:
    """Return the identity fields of the card with this module id, as hl-smi lists it."""
    fields = {
        "card": "name",
        "card_uuid": "uuid",
        "module_id": "module_id",
        "bus_id": "bus_id",
        "driver": "driver_version",
    }
    listed: list[Values] = [
        {key: card[name] for key, name in fields.items() if name in card} for card in cards
    ]
    ours = [card for card in listed if card.get("module_id") == module_id]
    return _agreed(ours or listed) if listed else {}
