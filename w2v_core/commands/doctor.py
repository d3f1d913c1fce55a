"""``w2v doctor``: what this machine can do, and what would make its measurements unreliable."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from w2v_core.commands import HELP
from w2v_core.commands.machine import Facts, gather
from w2v_core.commands.options import given, prepare_device
from w2v_core.commands.parser import INPUT_ERROR
from w2v_core.options.option import declare
from w2v_core.report.text import printable

State = Literal["ok", "note", "doubt", "missing"]

GIB = 2**30
MIN_MEMORY_BYTES = 4 * GIB  # the large checkpoint in float32, twice: on the host and on a cpu
MIN_DISK_BYTES = 5 * GIB  # both checkpoints, test-clean and a night's reports
MAX_LOAD = 0.25  # of the usable processors; more, and rounds wait for somebody else
MAX_SWAP_BYTES = GIB // 4  # what lies there may have to come back within a round
MAX_STEAL = 0.01  # of processor time, since boot
BUSY = 0.1  # of a processor, for a process to be named
MAX_NAMED = 3
WIDTH = 100  # columns
VOLATILE = ("PT_", "HABANA_", "card_")
"""Prefixes of device facts that a run's record holds and that say nothing about health."""


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
        help=HELP["doctor"],
        description="Say what is here, what is missing, and what would make measurements "
        "unreliable: ok is fine, note is worth knowing, doubt speaks against measuring here, "
        "missing was asked for and is not there. Opens the device; waits at most two seconds for "
        "the hub.",
        epilog="Exit codes: 0 looked at everything, whatever was found, 2 wrong usage, 3 the "
        "device that --device asks for is missing, 130 interrupted.",
    )
    declare("doctor", parser.add_argument)
    parser.set_defaults(handler=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print the checks; returns 3 where the device that was asked for is missing, else 0."""
    options = given("doctor", arguments)
    choice = options["device"]
    prepare_device(choice, execution=options["execution"])
    facts = gather(choice)
    checks = diagnose(facts)
    if options["json"]:
        text = json.dumps([asdict(check) for check in checks], indent=1)
    else:
        text = _render(checks)
    sys.stdout.write(f"{text}\n")
    return INPUT_ERROR if facts.device_error is not None else 0


def diagnose(facts: Facts) -> list[Check]:
    """Judge the facts; pure."""
    return [
        *_devices(facts),
        *_probe(facts),
        *_device(facts),
        *_versions(facts.versions),
        *_hub(facts),
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


def _probe(facts: Facts) -> list[Check]:
    """Show all that the search for a Gaudi saw, which says at which step it ended."""
    text = "; ".join(facts.hpu_probe)
    return [Check(state="note", name="hpu probe", text=text)] if text else []


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
    shown = {n: v for n, v in facts.device_facts.items() if not n.startswith(VOLATILE)}
    if shown:
        text = ", ".join(f"{name} {value}" for name, value in shown.items() if value is not None)
        checks.append(Check(state="ok", name="device facts", text=text))
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
    remedy = f"where there is a network: {' ; '.join(facts.fetched_by)} ; or use the canaries"
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


def _swap(used_bytes: int | None) -> Check:
    if used_bytes is None:
        return Check(state="note", name="swap", text="the system does not tell")
    text = f"{used_bytes / GIB:.1f} GiB in use"
    if used_bytes <= MAX_SWAP_BYTES:
        return Check(state="ok", name="swap", text=text)
    return Check(
        state="doubt",
        name="swap",
        text=f"{text}: a round may wait for the disk",
        remedy="stop other programs, then swapoff -a && swapon -a",
    )


def _turbo(on: bool | None) -> Check:
    if on is None:
        return Check(state="note", name="turbo", text="the system does not show it")
    if not on:
        return Check(state="ok", name="turbo", text="off: the clock is steady")
    text = "on: the clock depends on the temperature and on what other cores do"
    return Check(state="note", name="turbo", text=text)


def _processes(busiest: Sequence[tuple[str, float]]) -> Check:
    named = [f"{name} ({used:.0%})" for name, used in busiest if used >= BUSY]
    if not named:
        return Check(state="ok", name="processes", text="no other one computes")
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return Check(
        state="doubt",
        name="processes",
        text=f"others compute now, in processors: {', '.join(named[:MAX_NAMED])}{more}",
        remedy="stop them, or wait",
    )


def _steal(fraction: float | None) -> Check:
    if fraction is None:
        return Check(state="note", name="steal", text="the system does not tell")
    text = f"{fraction:.2%} of processor time since boot went to other machines of the host"
    if fraction <= MAX_STEAL:
        return Check(state="ok", name="steal", text=text)
    return Check(
        state="doubt", name="steal", text=text, remedy="measure on a machine with its own cores"
    )


def _processors(facts: Facts) -> Check:
    text = f"{facts.cpus_usable} usable"
    if facts.cpu_quota is not None and facts.cpu_quota < facts.cpus_usable:
        return Check(
            state="doubt",
            name="processors",
            text=f"{text}, and the container may use {facts.cpu_quota:g}: it is stopped, in the "
            "middle of a round, whenever that is spent",
            remedy="give it whole processors (docker --cpuset-cpus instead of --cpus)",
        )
    if facts.cpus_usable == 1:
        return Check(
            state="doubt",
            name="processors",
            text=f"{text}: decoding and the rest of the system interrupt the forward",
            remedy="use two or more",
        )
    return Check(state="ok", name="processors", text=text)


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


def _bfloat16(emulated: str | None) -> Check:
    if emulated is None:
        return Check(state="ok", name="bfloat16", text="the processor computes it")
    return Check(state="note", name="bfloat16", text=f"on cpu {emulated}")


def _render(checks: Sequence[Check]) -> str:
    names = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        remedy = f" -> {check.remedy}" if check.remedy else ""
        head = f"{check.state:<7}  {check.name:<{names}}  "
        lines += textwrap.wrap(
            f"{head}{printable(check.text)}{remedy}",
            width=WIDTH,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
    doubts = [check.name for check in checks if check.state == "doubt"]
    missing = [check.name for check in checks if check.state == "missing"]
    verdict = f"unreliable here: {', '.join(doubts)}" if doubts else "nothing speaks against it"
    lines += ["", f"measuring: {verdict}"]
    lines += [f"missing: {', '.join(missing)}"] * bool(missing)
    return "\n".join(lines)
