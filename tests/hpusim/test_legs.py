"""The simulator's other legs: real worker threads, the other dispatch key, a loaded bridge."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import hpusim
from tests.hpusim import guard, rules
from tests.hpusim.leg import Leg

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize("lazy", [True, False], ids=["lazy", "eager"])
def test_pipeline_survives_real_threads(
    monkeypatch: pytest.MonkeyPatch, lazy: bool, turn: int
) -> None:
    leg = Leg(lazy=lazy, graphs=lazy, execution="threads")
    assert leg.run(monkeypatch) == {}


def test_simulator_works_under_the_renamed_key() -> None:
    """PyTorch's official route for a device in Python; this process uses the HPU key."""
    environment = {**os.environ, "HPUSIM_KEY": "PrivateUse1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.hpusim.smoke"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_install_refuses_where_a_bridge_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hpusim.ACTIVE, "rt")  # as in a process that has torch.hpu from elsewhere
    with pytest.raises(hpusim.SimError, match="refuses to install"):
        hpusim.install()


def test_install_refuses_where_the_device_has_a_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that hides torch.hpu still has its entry in c10's guard table."""
    monkeypatch.setattr(guard, "_kept", [])  # as in a process that has not installed one
    with pytest.raises(hpusim.SimError, match="a real HPU bridge is loaded"):
        guard.install(sys.modules[__name__])


def test_session_refuses_to_simulate_where_a_bridge_is_loaded() -> None:
    code = (
        "import sys, pytest, torch; torch.hpu = torch; "
        "sys.exit(pytest.main(['--simulate-hpu', '-m', 'hpu', 'tests/hpusim/test_streams.py']))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "refuses to install: torch.hpu exists" in done.stderr


def test_synchronous_mock_finds_no_missing_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why the device is deferred: run at once, the worst mutant passes every check."""
    rules.no_wait_for_the_event(monkeypatch)
    found = Leg(execution="eager", lazy=False, graphs=False).run(monkeypatch)
    assert found.keys() == {"in flight"}  # each has ended when the next begins
    assert "transcripts" in Leg(lazy=False, graphs=False).run(monkeypatch)
