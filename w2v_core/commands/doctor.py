"""``w2v doctor``: what this machine can do, and what would make its measurements unreliable."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from w2v_core.commands.machine import Facts, gather
from w2v_core.config import DEVICES, parse_choice
from w2v_core.report.text import printable

__all__ = ["Check", "add_parser", "diagnose", "doctor"]

State = Literal["ok", "note", "doubt", "missing"]

MISSING_DEVICE = 3
GIB = 2**30
MIN_MEMORY_BYTES = 4 * GIB  # the large checkpoint in float32, twice: on the host and on a cpu
MIN_DISK_BYTES = 5 * GIB  # both checkpoints, test-clean and a night's reports
MAX_LOAD = 0.25  # of the usable processors; more, and rounds wait for somebody else


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at."""

    state: State
    name: str
    text: str
    remedy: str = ""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``doctor`` and its flags."""
    parser = commands.add_parser(
        "doctor",
        help="check the machine",
        description="Say what is here, what is missing, and what would make measurements "
        "unreliable. Opens the device; waits at most two seconds for the hub. Exit code 0, or 3 "
        "where the device that --device asks for is missing.",
    )
    parser.add_argument("--device", default="auto", help=", ".join(DEVICES))
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.set_defaults(handler=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print the checks; returns 3 where the device that was asked for is missing, else 0."""
    choice = parse_choice("device", arguments.device, DEVICES)
    facts = gather(choice)
    checks = diagnose(facts)
    if arguments.json:
        text = json.dumps([asdict(check) for check in checks], indent=1)
    else:
        text = _render(checks)
    sys.stdout.write(f"{text}\n")
    return MISSING_DEVICE if facts.device_error is not None else 0


def diagnose(facts: Facts) -> list[Check]:
    """Judge the facts; pure."""
    return [
        *_devices(facts),
        *_device(facts),
        *_versions(facts.versions),
        *_hub(facts),
        _amount("memory", facts.memory_available_bytes, MIN_MEMORY_BYTES, "stop other programs"),
        _amount("disk", facts.disk_free_bytes, MIN_DISK_BYTES, "delete old reports or caches"),
        _governor(facts.governor),
        _load(facts),
        _threads(facts),
    ]


def _devices(facts: Facts) -> list[Check]:
    return [
        Check(state="ok", name=f"device {name}", text="available")
        if why is None
        else Check(
            state="missing" if name == facts.choice else "note",
            name=f"device {name}",
            text=f"not here: {why}",
        )
        for name, why in facts.devices.items()
    ]


def _device(facts: Facts) -> list[Check]:
    if facts.device_error is not None:
        return [Check(state="missing", name="opened", text=facts.device_error)]
    graphs = facts.graphs_unsupported
    checks = [
        Check(state="ok", name="opened", text=facts.device_name or "unknown"),
        Check(
            state="note" if graphs else "ok",
            name="graphs",
            text=f"unsupported: {graphs}" if graphs else "supported",
        ),
    ]
    if facts.is_pinned is not None:
        pinned = Check(state="ok", name="pinned memory", text="host buffers are pinned")
        pageable = Check(
            state="doubt",
            name="pinned memory",
            text="host buffers are pageable, so copies block",
            remedy="raise the limit of locked memory (ulimit -l unlimited)",
        )
        checks.append(pinned if facts.is_pinned else pageable)
    return checks


def _versions(versions: Mapping[str, str | None]) -> list[Check]:
    here = ", ".join(f"{name} {v}" for name, v in versions.items() if v is not None)
    return [Check(state="ok", name="versions", text=here)]


def _hub(facts: Facts) -> list[Check]:
    cached = ", ".join(facts.cached) or "nothing"
    absent = ", ".join(facts.not_cached)
    state: State = "ok" if facts.hub_error is None or not facts.not_cached else "note"
    reach = "reachable" if facts.hub_error is None else f"not reachable ({facts.hub_error})"
    text = f"{reach}; cached: {cached}" + (f"; not cached: {absent}" if absent else "")
    remedy = "fetch them where there is a network (hf download), or use the canaries"
    return [Check(state=state, name="hub", text=text, remedy=remedy if state == "note" else "")]


def _amount(name: str, free_bytes: int | None, least_bytes: int, remedy: str) -> Check:
    if free_bytes is None:
        return Check(state="note", name=name, text="the system does not tell what is free")
    text = f"{free_bytes / GIB:.1f} GiB free"
    if free_bytes >= least_bytes:
        return Check(state="ok", name=name, text=text)
    return Check(
        state="doubt",
        name=name,
        text=f"{text}, less than {least_bytes / GIB:.0f} GiB",
        remedy=remedy,
    )


def _governor(governor: str | None) -> Check:
    if governor is None:
        return Check(state="note", name="governor", text="the system does not show it")
    if governor == "performance":
        return Check(state="ok", name="governor", text=governor)
    return Check(
        state="doubt",
        name="governor",
        text=f"{governor}: the clock follows the load, so the first rounds run slower",
        remedy="cpupower frequency-set -g performance",
    )


def _load(facts: Facts) -> Check:
    if facts.load_1min is None:
        return Check(state="note", name="load", text="the system does not tell")
    text = f"{facts.load_1min:.2f} on {facts.cpus_usable} usable processors"
    if facts.load_1min <= MAX_LOAD * facts.cpus_usable:
        return Check(state="ok", name="load", text=text)
    return Check(
        state="doubt",
        name="load",
        text=f"{text}: other work takes processor time from the rounds",
        remedy="stop it, or measure elsewhere",
    )


def _threads(facts: Facts) -> Check:
    allowed = min(facts.cpus_usable, facts.cpu_quota or facts.cpus_usable)
    text = f"torch computes with {facts.num_threads}, {allowed:g} processors may be used"
    if facts.num_threads <= allowed:
        return Check(state="ok", name="threads", text=text)
    return Check(
        state="doubt",
        name="threads",
        text=f"{text}: threads wait for each other",
        remedy=f"OMP_NUM_THREADS={max(1, int(allowed))}",
    )


def _render(checks: Sequence[Check]) -> str:
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        remedy = f" -> {check.remedy}" if check.remedy else ""
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {printable(check.text)}{remedy}")
    doubts = [check.name for check in checks if check.state == "doubt"]
    missing = [check.name for check in checks if check.state == "missing"]
    verdict = f"unreliable here: {', '.join(doubts)}" if doubts else "nothing speaks against it"
    lines += ["", f"measuring: {verdict}"]
    lines += [f"missing: {', '.join(missing)}"] * bool(missing)
    return "\n".join(lines)
