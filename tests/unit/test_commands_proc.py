"""What doctor reads under /proc and /sys, from files as Linux writes them, and of psutil."""

import subprocess
import sys
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest

from w2v_core.commands import proc


@pytest.fixture
def files(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    return write


@pytest.fixture
def memory(monkeypatch):
    """A machine with 4,000 KiB free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4000 * 1024))


def test_without_linuxs_files_there_is_no_limit_and_no_clock(tmp_path):
    assert [proc.cpu_quota(tmp_path), proc.turbo(tmp_path)] == [None, None]


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        pytest.param("max", 4000 * 1024, id="no-limit"),
        pytest.param(str(9000 * 1024), 4000 * 1024, id="above-the-machine"),
        pytest.param(str(3000 * 1024), 2000 * 1024, id="container"),
    ],
)
def test_free_memory_is_the_machines_or_the_containers_where_less(
    files, tmp_path, memory, limit, left
):
    files("memory.max", limit)
    files("memory.current", str(1000 * 1024))

    assert proc.memory_available_bytes(tmp_path) == left


def test_page_cache_that_is_given_back_on_demand_is_not_used_memory(files, tmp_path, memory):
    files("memory.max", str(3000 * 1024))
    files("memory.current", str(2900 * 1024))
    files("memory.stat", f"anon 1024\nactive_file 7\ninactive_file {2000 * 1024}\nshmem 0\n")

    assert proc.memory_available_bytes(tmp_path) == 2100 * 1024


@pytest.mark.parametrize(
    ("name", "text", "quota"),
    [
        pytest.param("cpu.max", "max 100000", None, id="v2-none"),
        pytest.param("cpu.max", "150000 100000", 1.5, id="v2"),
        pytest.param("cpu/cpu.cfs_quota_us", "-1", None, id="v1-none"),
        pytest.param("cpu/cpu.cfs_quota_us", "250000", 2.5, id="v1"),
    ],
)
def test_the_containers_share_of_processors(files, name, text, quota):
    files("cpu/cpu.cfs_period_us", "100000")

    assert proc.cpu_quota(files(name, text)) == quota


def test_steal_is_a_fraction_of_all_processor_time(monkeypatch):
    """Guests' time is counted in user already."""
    Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest")
    monkeypatch.setattr(psutil, "cpu_times", lambda: Times(10, 0, 20, 50, 5, 0, 5, 10, 7))

    assert proc.steal() == 0.1


def test_a_system_without_hypervisors_time_tells_no_steal(monkeypatch):
    Times = namedtuple("Times", "user system idle")
    monkeypatch.setattr(psutil, "cpu_times", lambda: Times(1, 1, 1))

    assert proc.steal() is None


@pytest.mark.parametrize(
    ("name", "text", "on"),
    [
        pytest.param("intel_pstate/no_turbo", "0", True, id="intel-on"),
        pytest.param("intel_pstate/no_turbo", "1", False, id="intel-off"),
        pytest.param("cpufreq/boost", "1", True, id="amd-on"),
        pytest.param("cpufreq/boost", "0", False, id="amd-off"),
    ],
)
def test_turbo_is_read_as_the_driver_writes_it(files, name, text, on):
    assert proc.turbo(files(name, text)) is on


def test_a_process_that_computes_is_found_and_this_one_is_not():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        names = []
        for _ in range(20):
            names = [name for name, _ in proc.busiest(sample_s=0.1)]
            if any(name.startswith("python") for name in names):
                break
    finally:
        busy.kill()
        busy.wait()

    assert any(name.startswith("python") for name in names)


def test_a_process_that_ends_meanwhile_is_left_out(monkeypatch):
    ended = psutil.Process()
    monkeypatch.setattr(
        ended, "cpu_percent", lambda interval: (_ for _ in ()).throw(psutil.NoSuchProcess(1))
    )
    ended.info = {"name": "gone"}
    monkeypatch.setattr(ended, "_pid", 0)
    monkeypatch.setattr(psutil, "process_iter", lambda attrs: [ended])

    assert proc.busiest(sample_s=0) == ()
