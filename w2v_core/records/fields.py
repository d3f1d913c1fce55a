"""Which figures may be compared: the fingerprint's key, and what a difference of two means.

A baseline belongs to one key: card generation, full SynapseAI build, torch, driver, firmware and
host class. Two releases differ in their software by intention; whether the difference of their
figures is the release's depends on the host and the card being the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["KEY_FIELDS", "FieldDifference", "difference", "fingerprint_key", "place"]

KEY_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("card", ("device_name", "card")),
    ("synapse", ("synapse_build", "synapse", "habana-torch-plugin")),
    ("torch", ("torch",)),
    ("driver", ("driver", "driver_version")),
    ("firmware", ("firmware", "firmware_version")),
    ("cuda", ("cuda",)),
    ("host_class", ("host_class",)),
    ("threads", ("num_threads",)),
)
"""Name in the key, and the fingerprint fields that hold it, first found wins."""

_PLACE = (
    "device_name",
    "host_class",
    "hostname",
    "processor",
    "cpus_usable",
    "num_threads",
    "memory_total_bytes",
    "card",
    "card_uuid",
    "module_id",
    "bus_id",
    "governor",
)
"""Fields that say where a run was made, not with what."""

_VOLATILE = ("card_power", "card_utilization", "card_memory_used", "card_temperature")
"""Prefixes of readings that differ from minute to minute; no part of a difference."""

_MATTERS: tuple[tuple[str, str], ...] = (
    ("PT_HPU_LAZY_MODE", "lazy or eager execution; the default flipped from 1 to 0 in 1.21"),
    ("PT_HPU_ENABLE_GENERIC_STREAM", "whether copies overlap the compute stream"),
    ("PT_ENABLE_INT64_SUPPORT", "64-bit integers on the device change casts and kernels"),
    ("PT_HPU_RECIPE_CACHE_CONFIG", "a warm recipe cache changes first-run time"),
    ("PT_RECIPE_CACHE_PATH", "a warm recipe cache changes first-run time"),
    ("PT_HPU_ENABLE_REFINE_DYNAMIC_SHAPES", "dynamic shapes change compilation"),
    ("PT_HPU_PLACE_ON_CPU", "whether operators may fall back to the host"),
    ("PT_HPU_", "a bridge setting"),
    ("PT_HPUGRAPH_", "a graph setting"),
    ("PT_ENABLE_", "a bridge setting"),
    ("HABANA_", "a SynapseAI setting"),
    ("OMP_", "host threads"),
    ("MKL_", "host threads"),
    ("KMP_", "host threads"),
    ("MALLOC_", "host memory allocator"),
    ("synapse", "the release itself: graph compiler, kernels, runtime"),
    ("habana-torch-plugin", "the bridge between torch and SynapseAI"),
    ("driver", "kernel driver of the card"),
    ("firmware", "firmware of the card"),
    ("torch", "operators, their default types and fusions"),
    ("transformers", "the model's code"),
    ("cuda", "CUDA libraries"),
    ("cudnn", "convolution kernels"),
    ("checkpoint", "the weights"),
    ("governor", "clock speed of the host"),
    ("num_threads", "host threads"),
    ("cpus_usable", "host threads"),
    ("processor", "the host"),
    ("host_class", "the host"),
    ("device_name", "the card"),
    ("card", "the card"),
    ("module_id", "another card of the host"),
    ("kernel", "kernel of the host: scheduling, memory, mitigations"),
    ("w2v_core", "the engine under test"),
    ("commit", "the engine under test"),
)
"""Prefix of a field that is known to matter, and why; the first match wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A fingerprint field whose values differ between two releases."""

    field: str
    a: str
    b: str
    matters: str
    """Why it is known to matter; empty where it is not."""


def fingerprint_key(environment: Mapping[str, Any]) -> dict[str, str]:
    """Reduce a fingerprint to what a baseline is keyed by; an unread field is ``unknown``."""
    return {name: _first(environment, fields) for name, fields in KEY_FIELDS}


def place(environment: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what says where a run was made: host and card, as sorted pairs."""
    return tuple(
        (name, str(environment[name]))
        for name in sorted(_PLACE)
        if environment.get(name) is not None
    )


def difference(
    a: Mapping[str, Any], b: Mapping[str, Any], *, equal: bool = False
) -> tuple[FieldDifference, ...]:
    """List the fields of two fingerprints that differ, those known to matter first.

    Args:
        a: One fingerprint.
        b: The other one.
        equal: List the equal fields as well, last.
    """
    rows = [
        FieldDifference(
            field=name, a=_shown(a, name), b=_shown(b, name), matters=_why_it_matters(name)
        )
        for name in sorted(set(a) | set(b))
        if not name.startswith(_VOLATILE)
        if equal or _shown(a, name) != _shown(b, name)
    ]
    return tuple(sorted(rows, key=lambda r: (r.a == r.b, not r.matters, r.field)))


def _first(environment: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    for name in fields:
        if environment.get(name) is not None:
            return str(environment[name])
    return "unknown"


def _shown(environment: Mapping[str, Any], name: str) -> str:
    if name not in environment:
        return "(not set)"
    value = environment[name]
    return "unknown" if value is None else str(value)


def _why_it_matters(name: str) -> str:
    return next((why for prefix, why in _MATTERS if name.startswith(prefix)), "")
