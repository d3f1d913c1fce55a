"""What a device draws, while it computes: a sensor for each kind, and a thread that reads it.

pyhlml on Gaudi, NVML on CUDA (``nvidia-ml-py``), RAPL's package counters on a host. Every sensor is
optional: where one cannot be read, the reason is what the record holds. No torch here.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from w2v_core.backends.hpu_telemetry import hlml_handle

PERIOD_S = 0.1  # hl-smi's and NVML's own averages are of this order
MAX_COST = 1e-3  # of the rounds: the reading thread's processor time over the time it waits
GAP_PERIODS = 3
LEAST_S = 1.0
"""A region that tells a mean: counters move every 0.1 s, and a card's power is itself a mean of as
much; over 0.08 s an H200 had a mean of 338 W beside a peak of 218 W."""
ON_AIP = 0  # pyhlml 1.24, HLML_TEMPERATURE_SENSORS
POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a sensor."""

    at_s: float
    """time.perf_counter."""
    power_w: float | None = None
    energy_j: float | None = None
    """A counter's state; it only ever grows."""
    clock_hz: float | None = None
    throttled: tuple[str, ...] = ()
    temperature_c: float | None = None


class Sensor(Protocol):
    """Something that tells power or energy."""

    source: str

    def read(self) -> Reading:
        """Look once; a millisecond at most."""
        ...


@dataclass(slots=True)
class PowerLog:
    """The readings of a region; complete when the region has been left."""

    source: str = ""
    reason: str = ""
    """Why nothing could be read; empty where something was."""
    period_s: float = PERIOD_S
    readings: list[Reading] = field(default_factory=list)
    cost_s: float = 0.0
    """Processor time that reading took."""

    @property
    def energy_j(self) -> float | None:
        """Joules between the first and the last reading, by the counter or under the powers."""
        if len(self.readings) < 2:
            return None
        first, last = self.readings[0], self.readings[-1]
        if first.energy_j is not None and last.energy_j is not None:
            return last.energy_j - first.energy_j
        points = [(r.at_s, r.power_w) for r in self.readings if r.power_w is not None]
        if len(points) < 2:
            return None
        pairs = pairwise(points)
        return sum((b[1] + a[1]) / 2 * (b[0] - a[0]) for a, b in pairs)

    @property
    def wall_s(self) -> float:
        """Seconds between the first and the last reading."""
        return self.readings[-1].at_s - self.readings[0].at_s if self.readings else 0.0

    @property
    def mean_w(self) -> float | None:
        """Energy over time; None over less than ``LEAST_S``."""
        energy_j, wall_s = self.energy_j, self.wall_s
        return energy_j / wall_s if energy_j is not None and wall_s >= LEAST_S else None

    @property
    def peak_w(self) -> float | None:
        """Largest power that was read, or between two readings of a counter."""
        powers = [r.power_w for r in self.readings if r.power_w is not None]
        if not powers:
            steps = pairwise(self.readings)
            powers = [
                (b.energy_j - a.energy_j) / (b.at_s - a.at_s)
                for a, b in steps
                if a.energy_j is not None and b.energy_j is not None
                if b.at_s - a.at_s > self.period_s / 2  # over less, the counter's steps show
            ]
        return max(powers, default=None)

    @property
    def gaps(self) -> int:
        """Waits between two readings that were longer than ``GAP_PERIODS`` periods."""
        steps = pairwise(self.readings)
        return sum(b.at_s - a.at_s > GAP_PERIODS * self.period_s for a, b in steps)

    @property
    def clocks_hz(self) -> tuple[float, float] | None:
        """Lowest and highest clock that was read."""
        clocks = [r.clock_hz for r in self.readings if r.clock_hz is not None]
        return (min(clocks), max(clocks)) if clocks else None

    @property
    def peak_temperature_c(self) -> float | None:
        """Highest temperature that was read."""
        return max(
            (r.temperature_c for r in self.readings if r.temperature_c is not None), default=None
        )

    @property
    def throttled(self) -> tuple[str, ...]:
        """Every reason that was given for a lowered clock, sorted."""
        return tuple(sorted({reason for r in self.readings for reason in r.throttled}))


@contextlib.contextmanager
def power_log(sensor: Sensor | str, *, period_s: float = PERIOD_S) -> Iterator[PowerLog]:
    """Read a sensor from a thread of its own until the region ends.

    The thread waits a thousand times as long as its reading took of a processor, where that is
    longer than the period, so that it costs the region less than ``MAX_COST``.

    Args:
        sensor: What to read; a text says why there is nothing to read.
        period_s: Seconds between readings, at least.
    """
    if isinstance(sensor, str):
        yield PowerLog(reason=sensor)
        return
    log = PowerLog(source=sensor.source, period_s=period_s)
    with contextlib.suppress(Exception):  # what fails here fails again, where it is recorded
        sensor.read()  # the first look costs a hundred times the next: a library loads its parts
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(sensor, log, stop), name="power", daemon=True)
    thread.start()
    try:
        yield log
    finally:
        stop.set()
        thread.join()
        if not log.reason and log.wall_s < LEAST_S:
            log.reason = f"no mean over {log.wall_s:.2g} s of rounds: {LEAST_S:g} s are the least"


def _follow(sensor: Sensor, log: PowerLog, stop: threading.Event) -> None:
    is_over = False
    while True:
        before = time.thread_time()
        try:
            log.readings.append(sensor.read())
        except Exception as error:  # noqa: BLE001 - HLMLError, NVMLError, OSError: not ours to know
            log.reason = f"{sensor.source} stopped answering: {error}"
            return
        spent = time.thread_time() - before
        log.cost_s += spent
        log.period_s = max(log.period_s, spent / MAX_COST)
        if is_over:
            return
        is_over = stop.wait(log.period_s)  # one more reading then, at the region's end


def find_sensor(device: str, *, card: str | None = None) -> Sensor | str:
    """Return the sensor of a device, or why there is none.

    Args:
        device: ``hpu``, ``cuda`` or ``cpu``.
        card: Which one: a module id of Gaudi, a UUID of NVML; needed where there are several.
    """
    makers: dict[str, Callable[[], Sensor]] = {
        "hpu": lambda: Hlml(importlib.import_module("pyhlml"), card),
        "cuda": lambda: Nvml(importlib.import_module("pynvml"), card),
        "cpu": Rapl,
    }
    remedies = {"hpu": "the extra hpu brings pyhlml", "cuda": "nvidia-ml-py brings NVML"}
    try:
        sensor = makers[device]()
        sensor.read()
    except ImportError as error:
        return f"{error}; {remedies.get(device, '')}"
    except Exception as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: {error}"
    return sensor


class Hlml:
    """A Gaudi card through pyhlml; power in mW there."""

    source = "pyhlml"

    def __init__(self, hlml: Any, module_id: str | None) -> None:  # noqa: ANN401 - no types
        hlml.hlmlInit()
        self._hlml = hlml
        self._card = hlml_handle(hlml, module_id)
        if self._card is None:
            raise LookupError(f"no card of several has the module id {module_id}")

    def read(self) -> Reading:
        """Ask for power, and for clock and throttle reasons where this release has them."""
        hlml, card = self._hlml, self._card
        throttle = _optional(lambda: hlml.hlmlDeviceGetCurrentClocksThrottleReasons(card))
        return Reading(
            at_s=time.perf_counter(),
            power_w=hlml.hlmlDeviceGetPowerUsage(card) / 1e3,
            clock_hz=_mega(_optional(lambda: hlml.hlmlDeviceGetClockInfo(card, 0))),
            throttled=(f"hlml {int(throttle):#x}",) if throttle else (),
            temperature_c=_optional(lambda: float(hlml.hlmlDeviceGetTemperature(card, ON_AIP))),
        )


class Nvml:
    """An NVIDIA GPU through NVML: power in mW, its energy counter in mJ since Volta."""

    source = "nvml"

    def __init__(self, nvml: Any, uuid: str | None) -> None:  # noqa: ANN401 - no types
        nvml.nvmlInit()
        self._nvml = nvml
        if uuid is None and nvml.nvmlDeviceGetCount() > 1:
            raise LookupError("several GPUs are here, and this one's UUID is not known")
        self._card = (
            nvml.nvmlDeviceGetHandleByIndex(0)
            if uuid is None
            else nvml.nvmlDeviceGetHandleByUUID(uuid)
        )

    def read(self) -> Reading:
        """Ask for power, and for energy, clock and throttle reasons where the GPU tells them."""
        nvml, card = self._nvml, self._card
        energy_mj = _optional(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(card))
        reasons = _optional(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)) or 0
        idle = getattr(nvml, "nvmlClocksThrottleReasonGpuIdle", 1)
        throttle = int(reasons) & ~int(idle)  # an idle clock is no throttled one
        return Reading(
            at_s=time.perf_counter(),
            power_w=nvml.nvmlDeviceGetPowerUsage(card) / 1e3,
            energy_j=None if energy_mj is None else energy_mj / 1e3,
            clock_hz=_mega(
                _optional(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM))
            ),
            throttled=(f"nvml {throttle:#x}",) if throttle else (),
            temperature_c=_optional(
                lambda: float(nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))
            ),
        )


class Rapl:
    """The processor packages through RAPL's energy counters; readable by root on most systems."""

    source = "rapl"

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = [p for p in sorted(root.glob("intel-rapl:*")) if p.name.count(":") == 1]
        if not self._packages:
            raise LookupError(f"no RAPL counter in {root}; virtual machines have none")
        self._wraps_uj = [int((p / "max_energy_range_uj").read_text()) for p in self._packages]
        self._last_uj = self._counters()
        self._total_uj = 0

    def read(self) -> Reading:
        """Add what the counters grew by; a counter that wrapped is one range further."""
        now = self._counters()
        for last, new, wrap in zip(self._last_uj, now, self._wraps_uj, strict=True):
            self._total_uj += new - last if new >= last else new - last + wrap
        self._last_uj = now
        return Reading(at_s=time.perf_counter(), energy_j=self._total_uj / 1e6)

    def _counters(self) -> Sequence[int]:
        return [int((p / "energy_uj").read_text()) for p in self._packages]


def _optional(ask: Callable[[], Any]) -> Any | None:  # noqa: ANN401 - whatever the library returns
    try:
        return ask()
    except Exception:  # noqa: BLE001 - a card or release that does not tell this
        return None


def _mega(value: float | None) -> float | None:
    return None if value is None else value * 1e6
