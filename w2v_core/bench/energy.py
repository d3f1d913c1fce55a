"""What a cell's timed region took of power: which sensor tells it, and what the record holds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from w2v_core.backends.base import Backend
from w2v_core.backends.power import PowerLog, Sensor, find_sensor
from w2v_core.records.record import PowerUse


def sensor_of(backend: Backend, environment: Mapping[str, Any]) -> Sensor | str:
    """Return the sensor of the backend's card, or why there is none."""
    if backend.device_name == "simulated":
        return "a simulated card draws nothing"
    card = environment.get("card_uuid" if backend.name == "cuda" else "module_id")
    return find_sensor(backend.name, card=None if card is None else str(card))


def energy_j(power: PowerLog, rounds_s: Sequence[float]) -> float | None:
    """Return the mean power over the timed region times the mean round; None without either."""
    if power.mean_w is None or not rounds_s:
        return None
    return power.mean_w * statistics.fmean(rounds_s)


def power_use(power: PowerLog) -> PowerUse:
    """Return a log of samples as the record holds it."""
    low, high = power.clocks_hz or (None, None)
    return PowerUse(
        source=power.source,
        reason=power.reason,
        mean_w=power.mean_w,
        peak_w=power.peak_w,
        samples=len(power.readings),
        gaps=power.gaps,
        period_s=power.period_s,
        clock_min_hz=low,
        clock_max_hz=high,
        throttled=power.throttled,
        peak_temperature_c=power.peak_temperature_c,
    )
