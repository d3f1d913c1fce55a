"""What a machine's facts say about measuring on it: fine, worth knowing, doubtful, or missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from w2v_core.backends.base import GraphSupport
from w2v_core.commands.machine import Facts

Level = Literal["ok", "note", "doubt", "missing"]

GIB = 2**30
MIN_MEMORY_BYTES = 4 * GIB  # the large checkpoint in float32, twice: on the host and on a cpu
MIN_DISK_BYTES = 5 * GIB  # both checkpoints, test-clean and a night's reports
MAX_LOAD = 0.25  # of the usable processors; more, and rounds wait for somebody else
MAX_SWAP_BYTES = GIB // 4  # what lies there may have to come back within a round
MAX_STEAL = 0.01  # of processor time, since boot
BUSY = 0.1  # of a processor, for a process to be named
MAX_NAMED = 3
VOLATILE = ("PT_", "HABANA_", "card_")
"""Prefixes of device facts that a run's record holds and that say nothing about health."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at."""

    state: Level
    name: str
    text: str
    remedy: str = ""


def diagnose(facts: Facts) -> list[Check]:
    """Judge the facts; pure."""
    return [
        *_devices(facts),
        *_probe(facts),
        *_device(facts),
        _versions(facts.versions),
        _hub(facts),
        _amount("memory", facts.memory_available_bytes, MIN_MEMORY_BYTES, "stop other programs"),
        _amount("disk", facts.disk_free_bytes, MIN_DISK_BYTES, "delete old reports or caches"),
        _swap(facts.swap_used_bytes),
        _governor(facts.governor),
        _turbo(facts.turbo),
        _load(facts),
        _processes(facts.busiest),
        _steal(facts.steal),
        _processors(facts),
        _threads(facts),
        _bfloat16(facts.bfloat16_emulated),
    ]


def _ok(name: str, text: str) -> Check:
    return Check(state="ok", name=name, text=text)


def _note(name: str, text: str) -> Check:
    return Check(state="note", name=name, text=text)


def _doubt(name: str, text: str, remedy: str) -> Check:
    return Check(state="doubt", name=name, text=text, remedy=remedy)


def _devices(facts: Facts) -> list[Check]:
    return [
        _ok(f"device {name}", "available")
        if why is None
        else Check(
            state="missing" if name == facts.choice else "note",
            name=f"device {name}",
            text=f"not here: {why}",
        )
        for name, why in facts.devices.items()
    ]


def _probe(facts: Facts) -> list[Check]:
    """Show all that the search for a Gaudi saw, which says at which step it ended."""
    text = "; ".join(facts.hpu_probe)
    return [_note("hpu probe", text)] if text else []


def _device(facts: Facts) -> list[Check]:
    if facts.device_error is not None:
        return [Check(state="missing", name="opened", text=facts.device_error)]
    checks = [_ok("opened", facts.device_name or "unknown"), *_graphs(facts.graphs)]
    shown = {n: v for n, v in facts.device_facts.items() if not n.startswith(VOLATILE)}
    if shown:
        text = ", ".join(f"{name} {value}" for name, value in shown.items() if value is not None)
        checks.append(_ok("device facts", text))
    if facts.is_pinned is not None:
        pageable, remedy = (
            "host buffers are pageable, so copies block",
            "raise the limit of locked memory (ulimit -l unlimited)",
        )
        pinned = _ok("pinned memory", "host buffers are pinned")
        checks.append(pinned if facts.is_pinned else _doubt("pinned memory", pageable, remedy))
    return checks


def _graphs(graphs: Mapping[str, GraphSupport]) -> list[Check]:
    """Say it once where it is the same for every dtype."""
    dtypes: dict[GraphSupport, list[str]] = {}
    for dtype, support in graphs.items():
        dtypes.setdefault(support, []).append(dtype)
    checks = []
    for support, of in dtypes.items():
        prefix = "" if len(dtypes) == 1 else f"{', '.join(of)}: "
        why = support.unsupported
        text = f"{prefix}unsupported: {why}" if why else f"{prefix}by {support.by}"
        checks.append((_note if why else _ok)("graphs", text))
    return checks


def _versions(versions: Mapping[str, str | None]) -> Check:
    return _ok("versions", ", ".join(f"{n} {v}" for n, v in versions.items() if v is not None))


def _hub(facts: Facts) -> Check:
    cached = ", ".join(facts.cached) or "nothing"
    absent = ", ".join(facts.not_cached)
    reach = "reachable" if facts.hub_error is None else f"not reachable ({facts.hub_error})"
    text = f"{reach}; cached: {cached}" + (f"; not cached: {absent}" if absent else "")
    if facts.hub_error is None or not absent:
        return _ok("hub", text)
    remedy = f"where there is a network: {' ; '.join(facts.fetched_by)} ; or use the canaries"
    return Check(state="note", name="hub", text=text, remedy=remedy)


def _amount(name: str, free_bytes: int | None, least_bytes: int, remedy: str) -> Check:
    if free_bytes is None:
        return _note(name, "the system does not tell what is free")
    text = f"{free_bytes / GIB:.1f} GiB free"
    if free_bytes >= least_bytes:
        return _ok(name, text)
    return _doubt(name, f"{text}, less than {least_bytes / GIB:.0f} GiB", remedy)


def _governor(governor: str | None) -> Check:
    if governor is None:
        return _note("governor", "the system does not show it")
    if governor == "performance":
        return _ok("governor", governor)
    text = f"{governor}: the clock follows the load, so the first rounds run slower"
    return _doubt("governor", text, "cpupower frequency-set -g performance")


def _swap(used_bytes: int | None) -> Check:
    if used_bytes is None:
        return _note("swap", "the system does not tell")
    text = f"{used_bytes / GIB:.1f} GiB in use"
    if used_bytes <= MAX_SWAP_BYTES:
        return _ok("swap", text)
    remedy = "stop other programs, then swapoff -a && swapon -a"
    return _doubt("swap", f"{text}: a round may wait for the disk", remedy)


def _turbo(on: bool | None) -> Check:
    if on is None:
        return _note("turbo", "the system does not show it")
    if not on:
        return _ok("turbo", "off: the clock is steady")
    return _note("turbo", "on: the clock depends on the temperature and on what other cores do")


def _processes(busiest: Sequence[tuple[str, float]]) -> Check:
    named = [f"{name} ({used:.0%})" for name, used in busiest if used >= BUSY]
    if not named:
        return _ok("processes", "no other one computes")
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    text = f"others compute now, in processors: {', '.join(named[:MAX_NAMED])}{more}"
    return _doubt("processes", text, "stop them, or wait")


def _steal(fraction: float | None) -> Check:
    if fraction is None:
        return _note("steal", "the system does not tell")
    text = f"{fraction:.2%} of processor time since boot went to other machines of the host"
    if fraction <= MAX_STEAL:
        return _ok("steal", text)
    return _doubt("steal", text, "measure on a machine with its own cores")


def _processors(facts: Facts) -> Check:
    text = f"{facts.cpus_usable} usable"
    if facts.cpu_quota is not None and facts.cpu_quota < facts.cpus_usable:
        return _doubt(
            "processors",
            f"{text}, and the container may use {facts.cpu_quota:g}: it is stopped, in the "
            "middle of a round, whenever that is spent",
            "give it whole processors (docker --cpuset-cpus instead of --cpus)",
        )
    if facts.cpus_usable == 1:
        text += ": decoding and the rest of the system interrupt the forward"
        return _doubt("processors", text, "use two or more")
    return _ok("processors", text)


def _load(facts: Facts) -> Check:
    if facts.load_1min is None:
        return _note("load", "the system does not tell")
    text = f"{facts.load_1min:.2f} on {facts.cpus_usable} usable processors"
    if facts.load_1min <= MAX_LOAD * facts.cpus_usable:
        return _ok("load", text)
    text += ": other work takes processor time from the rounds"
    return _doubt("load", text, "stop it, or measure elsewhere")


def _threads(facts: Facts) -> Check:
    allowed = min(facts.cpus_usable, facts.cpu_quota or facts.cpus_usable)
    text = f"torch computes with {facts.num_threads}, {allowed:g} processors may be used"
    if facts.num_threads <= allowed:
        return _ok("threads", text)
    remedy = f"OMP_NUM_THREADS={max(1, int(allowed))}"
    return _doubt("threads", f"{text}: threads wait for each other", remedy)


def _bfloat16(emulated: str | None) -> Check:
    if emulated is None:
        return _ok("bfloat16", "the processor computes it")
    return _note("bfloat16", f"on cpu {emulated}")
