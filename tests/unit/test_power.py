"""Power is sampled by a thread that costs next to nothing, and what cannot be read says why."""

import time
from types import SimpleNamespace

import pytest

from w2v_core.backends.power import (
    MAX_COST,
    Hlml,
    Nvml,
    PowerLog,
    Rapl,
    Reading,
    find_sensor,
    power_log,
)


class Steady:
    """A sensor of constant power."""

    source = "steady"

    def __init__(self, power_w=200.0):
        self.power_w = power_w

    def read(self):
        return Reading(at_s=time.perf_counter(), power_w=self.power_w)


class Broken(Steady):
    def read(self):
        raise OSError("the sensor is gone")


class Loading:
    """A sensor whose first reading costs 5 ms of the processor; it counts its readings."""

    source = "loading"

    def __init__(self):
        self.reads = 0

    def read(self):
        self.reads += 1
        started_s = time.thread_time()
        while self.reads == 1 and time.thread_time() - started_s < 5e-3:
            pass
        return Reading(at_s=time.perf_counter(), power_w=float(self.reads))


class Slow(Steady):
    """Its reading computes for 2 ms."""

    def read(self):
        end = time.thread_time() + 2e-3
        while time.thread_time() < end:
            pass
        return super().read()


def log_of(*points, **options):
    readings = [Reading(at_s=at, power_w=power) for at, power in points]
    return PowerLog(source="made", readings=readings, **options)


def test_energy_is_the_area_under_the_powers():
    log = log_of((0.0, 100.0), (1.0, 300.0), (3.0, 300.0))

    assert (log.energy_j, log.wall_s, log.peak_w) == (200.0 + 600.0, 3.0, 300.0)
    assert log.mean_w == pytest.approx(800 / 3)


def test_a_counter_goes_before_the_powers():
    readings = [
        Reading(at_s=0.0, power_w=100.0, energy_j=50.0),
        Reading(at_s=2.0, power_w=100.0, energy_j=850.0),
    ]

    assert PowerLog(readings=readings).mean_w == 400.0


def test_the_peak_of_a_counter_is_of_a_whole_period():
    """Right after the last reading comes one of the region's end; over it the counter's step."""
    readings = [
        Reading(at_s=at, energy_j=joules) for at, joules in ((0.0, 0.0), (1.0, 70.0), (1.001, 71.0))
    ]

    assert PowerLog(readings=readings, period_s=1.0).peak_w == 70.0


def test_one_reading_has_no_energy():
    assert log_of((0.0, 100.0)).energy_j is None
    assert log_of((0.0, 100.0)).mean_w is None


def test_gaps_are_counted():
    assert log_of((0.0, 1.0), (0.1, 1.0), (0.5, 1.0), (0.6, 1.0), period_s=0.1).gaps == 1


def test_a_region_shorter_than_a_period_has_a_reading_at_each_end():
    with power_log(Steady(), period_s=60.0) as log:
        time.sleep(0.01)

    assert len(log.readings) >= 2
    assert log.peak_w == 200.0
    assert log.mean_w is None
    assert "no mean over" in log.reason


def test_the_first_look_at_a_sensor_which_loads_its_library_sets_no_period():
    with power_log(Loading(), period_s=0.001) as log:
        time.sleep(0.02)

    assert log.period_s < 1.0
    assert log.readings[0].power_w == 2.0, "the first reading is of the region"


def test_a_slow_sensor_is_read_less_often_so_that_it_costs_no_more():
    with power_log(Slow(), period_s=0.001) as log:
        time.sleep(0.05)

    assert log.period_s >= 2e-3 / MAX_COST * 0.9


def test_a_sensor_that_breaks_says_so_and_keeps_what_it_read():
    with power_log(Broken()) as log:
        pass

    assert "the sensor is gone" in log.reason
    assert log.energy_j is None


def test_without_a_sensor_the_reason_stays():
    with power_log("no sensor here") as log:
        pass

    assert (log.reason, log.source, log.readings) == ("no sensor here", "", [])


@pytest.mark.parametrize(("device", "remedy"), [("hpu", "pyhlml"), ("cuda", "nvidia-ml-py")])
def test_a_missing_library_is_named(monkeypatch, device, remedy):
    for name in ("pyhlml", "pynvml"):
        monkeypatch.setitem(__import__("sys").modules, name, None)

    assert remedy in find_sensor(device)


def hlml(**more):
    cards = {0: b"4", 1: b"7"}
    return SimpleNamespace(
        hlmlInit=lambda: None,
        hlmlDeviceGetCount=lambda: len(cards),
        hlmlDeviceGetHandleByIndex=lambda i: i,
        hlmlDeviceGetModuleID=lambda card: int(cards[card]),
        hlmlDeviceGetPowerUsage=lambda card: 226_000 + card,
        **more,
    )


def test_pyhlml_is_asked_for_the_card_with_the_module_id_in_milliwatts():
    assert Hlml(hlml(), "7").read().power_w == 226.001


def test_pyhlml_without_that_card_is_refused():
    with pytest.raises(LookupError, match="module id 3"):
        Hlml(hlml(), "3")


def test_pyhlmls_clock_and_throttle_reasons_are_optional():
    told = hlml(
        hlmlDeviceGetClockInfo=lambda _card, _kind: 1650,
        hlmlDeviceGetCurrentClocksThrottleReasons=lambda _card: 2,
    )

    assert Hlml(hlml(), "4").read().clock_hz is None
    assert Hlml(told, "4").read().clock_hz == 1.65e9
    assert Hlml(told, "4").read().throttled == ("hlml 0x2",)


def test_nvml_tells_power_energy_and_clock_and_an_idle_clock_is_not_throttled():
    nvml = SimpleNamespace(
        NVML_CLOCK_SM=1,
        nvmlClocksThrottleReasonGpuIdle=1,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetPowerUsage=lambda _card: 350_000,
        nvmlDeviceGetTotalEnergyConsumption=lambda _card: 12_000,
        nvmlDeviceGetClockInfo=lambda _card, _kind: 1980,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _card: 1,
    )

    reading = Nvml(nvml, "GPU-1").read()

    assert (reading.power_w, reading.energy_j, reading.clock_hz) == (350.0, 12.0, 1.98e9)
    assert reading.throttled == ()


def test_rapl_adds_packages_and_survives_a_wrap(tmp_path):
    packages = [tmp_path / f"intel-rapl:{i}" for i in range(2)]
    for package in packages:
        package.mkdir()
        (package / "energy_uj").write_text("900\n")
        (package / "max_energy_range_uj").write_text("1000\n")
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of the first package, not another one
    sensor = Rapl(tmp_path)
    (packages[0] / "energy_uj").write_text("950\n")
    (packages[1] / "energy_uj").write_text("100\n")

    assert sensor.read().energy_j == pytest.approx((50 + 200) / 1e6)


def test_a_host_without_counters_says_so(tmp_path):
    with pytest.raises(LookupError, match="no RAPL counter"):
        Rapl(tmp_path)
