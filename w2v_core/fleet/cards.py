"""The cards of this machine, and what a process needs to have one of them to itself.

A process is pinned by what its device's software reads when it is loaded, and to its share of the
cores of the card's NUMA node; memory follows, as a page lies where it is first touched.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from w2v_core.backends.hpu_environment import MODULE_IDS, bridge_installed
from w2v_core.backends.hpu_telemetry import ACCEL_ROOTS, SMI_TIMEOUT_S, query_hl_smi
from w2v_core.config import DeviceChoice, is_whole
from w2v_core.errors import ConfigError, DeviceError
from w2v_core.printable import shown
from w2v_core.system import read

PCI = Path("/sys/bus/pci/devices")
CPUS = Path("/sys/devices/system/cpu")
NODES = Path("/sys/devices/system/node")
MODULES = ("HABANA_VISIBLE_MODULES", "HLS_MODULE_ID")
GPUS = "CUDA_VISIBLE_DEVICES"
LOCAL_RANKS = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
"""Of torchrun, Open MPI, MPICH and Intel MPI, Slurm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card, or on a plain host one process with a share of its cores."""

    device: DeviceChoice
    number: int
    """Module id of a Gaudi, index of a GPU, else from 0."""
    host: str = ""
    """Where it is; empty for this machine."""
    bus_id: str = ""
    numa_node: int | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    """Environment of its process."""
    cpus: tuple[int, ...] = ()
    """Cores of its process; empty leaves them as they are."""

    def __str__(self) -> str:
        """Return its name in reports: ``hpu 3``, ``node-b hpu 3``."""
        return f"{self.host} {self.device} {self.number}".strip()


def find_cards(device: DeviceChoice, asked: str) -> tuple[Card, ...]:
    """Return the cards asked for, each with its share of the cores.

    Args:
        device: ``auto`` takes the first kind of hpu, cuda and cpu that is here.
        asked: ``all``, a count or a list of numbers.

    Raises:
        ConfigError: there are fewer, or none of a number; names what there is.
        DeviceError: no card of the device is here.
    """
    if device == "auto":
        device = _first_kind()
    if device == "cpu":
        return _shared(_of_host(asked))
    cards = list_cards(device)
    if not cards:
        where = {"hpu": "hl-smi and sysfs", "cuda": "nvidia-smi"}[device]
        raise DeviceError(f"no {device} card: {where} list none; see w2v doctor --device {device}")
    return _shared(choose(cards, asked))


def list_cards(device: DeviceChoice) -> tuple[Card, ...]:
    """List the cards of a device that this process may use, without opening one."""
    listed = _gaudis() if device == "hpu" else _gpus()
    return tuple(replace(card, numa_node=_numa_node(card.bus_id)) for card in listed)


def pin_to_local_rank(environ: MutableMapping[str, str]) -> None:
    """Leave a process that a launcher numbered on its node its GPU; call before torch.

    A launcher that gave each process one GPU has done so already; a Gaudi is whichever is free.
    """
    rank = next((found for name in LOCAL_RANKS if (found := environ.get(name))), "")
    visible = [part for part in environ.get(GPUS, "").split(",") if part]
    if not rank.isdecimal() or len(visible) == 1:
        return
    environ[GPUS] = visible[int(rank) % len(visible)] if visible else rank


def choose(cards: Sequence[Card], asked: str) -> tuple[Card, ...]:
    """Return all cards, the first of them, or those of the numbers given; see ``find_cards``."""
    here = f"here are {len(cards)}: {', '.join(str(c.number) for c in cards)}"
    if asked == "all":
        return tuple(cards)
    numbers = _numbers(asked)
    if "," not in asked:
        if numbers[0] > len(cards):
            raise ConfigError(f"{{flag:cards}} {asked}: {here}", field="cards", value=asked)
        return tuple(cards[: numbers[0]])
    by_number = {card.number: card for card in cards}
    if absent := [n for n in numbers if n not in by_number]:
        kind = f" ({MODULE_IDS})" if cards[0].device == "hpu" else ""
        raise ConfigError(
            f"{{flag:cards}} {asked}: there is no card {absent[0]}; {here}{kind}",
            field="cards",
            value=asked,
        )
    return tuple(by_number[n] for n in numbers)


def parse_count_of(asked: str) -> int:
    """Return a count of cards, where no list can be meant; raises ConfigError."""
    if "," in asked:
        raise ConfigError(
            f"{{flag:cards}} {asked}: Ray places the cards; give all or a count",
            field="cards",
            value=asked,
        )
    return _numbers(asked)[0]


def _numbers(asked: str) -> list[int]:
    parts = [part.strip() for part in asked.rstrip(",").split(",")]
    numbers = [int(part) for part in parts if is_whole(part)]
    is_count = "," not in asked
    if (
        len(numbers) != len(parts)
        or len(set(numbers)) != len(numbers)
        or (is_count and not sum(numbers))
    ):
        raise ConfigError(
            f"{{flag:cards}} {shown(asked)} is neither all, a count from 1, nor a list of "
            "different numbers such as 0,2,5 (one card: 2,)",
            field="cards",
            value=asked,
        )
    return numbers


def _first_kind() -> DeviceChoice:
    if bridge_installed() and list_cards("hpu"):
        return "hpu"
    return "cuda" if list_cards("cuda") else "cpu"


def _of_host(asked: str) -> tuple[Card, ...]:
    usable = len(os.sched_getaffinity(0))
    nodes: list[int | None] = [n for n in _node_numbers() if _node_cpus(n)] or [None]
    if asked == "all":
        return tuple(Card(device="cpu", number=i, numa_node=n) for i, n in enumerate(nodes))
    numbers = _numbers(asked)
    numbers = list(range(numbers[0])) if "," not in asked else numbers
    if len(numbers) > usable:
        raise ConfigError(
            f"{{flag:cards}} {asked}: {len(numbers)} processes on {usable} usable cores; at most "
            "one a core",
            field="cards",
            value=asked,
        )
    return tuple(Card(device="cpu", number=n) for n in numbers)


def _gaudis() -> Iterable[Card]:
    rows = [(row.get("module_id", ""), row.get("bus_id", "")) for row in query_hl_smi()]
    if not any(module for module, _ in rows):
        rows = [
            (read(device / "module_id") or "", device.resolve().name)
            for root in ACCEL_ROOTS
            for device in sorted(root.glob("*[0-9]/device"))
        ]
    allowed = os.environ.get(MODULES[0])
    for module, bus_id in sorted(set(rows)):
        if module.isdecimal() and (allowed is None or module in allowed.split(",")):
            pins = dict.fromkeys(MODULES, module)
            yield Card(device="hpu", number=int(module), bus_id=bus_id, pins=pins)


def _gpus() -> Iterable[Card]:
    command = ["nvidia-smi", "--query-gpu=index,uuid,pci.bus_id", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=SMI_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return
    allowed = os.environ.get(GPUS)
    for line in done.stdout.splitlines():
        index, uuid, bus_id = (part.strip() for part in line.split(","))
        if allowed is None or {index, uuid} & set(allowed.split(",")):
            pins = {GPUS: uuid}
            yield Card(device="cuda", number=int(index), bus_id=bus_id, pins=pins)


def _numa_node(bus_id: str) -> int | None:
    """Return a PCI device's node; NVIDIA writes the domain with eight digits, sysfs with four."""
    text = read(PCI / bus_id.lower()[-len("0000:00:00.0") :] / "numa_node") if bus_id else None
    return int(text) if text is not None and text.isdecimal() else None


def _node_numbers() -> list[int]:
    return sorted(int(p.name[4:]) for p in NODES.glob("node[0-9]*"))


def _node_cpus(node: int | None) -> list[int]:
    """Return the usable cores of a node, all of them without one; siblings stand together."""
    usable = os.sched_getaffinity(0)
    local = usable
    if node is not None and (text := read(NODES / f"node{node}" / "cpulist")):
        local = usable & set(_ranges(text))
    return sorted(local, key=lambda cpu: (_first_sibling(cpu), cpu))


def _first_sibling(cpu: int) -> int:
    text = read(CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list")
    return min(_ranges(text)) if text else cpu


def _ranges(text: str) -> list[int]:
    """Read the kernel's lists: ``0-3,8-11``."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _shared(cards: Sequence[Card]) -> tuple[Card, ...]:
    """Give each card its share of its node's cores."""
    by_node: dict[int | None, list[Card]] = {}
    for card in cards:
        by_node.setdefault(card.numa_node, []).append(card)
    shares = {
        card.number: share(card, i, len(neighbours))
        for neighbours in by_node.values()
        for i, card in enumerate(neighbours)
    }
    return tuple(replace(card, cpus=shares[card.number]) for card in cards)


def share(card: Card, place: int, of: int) -> tuple[int, ...]:
    """Return a card's part of the cores of its node; more cards than cores have them in turn."""
    cpus = _node_cpus(card.numa_node) or _node_cpus(None)
    each, place = len(cpus) // of, place % of
    return tuple(cpus[place * each : (place + 1) * each] or [cpus[place % len(cpus)]])
