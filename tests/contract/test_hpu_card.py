"""What is read of the card that this session runs on, held against what its tools say."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from w2v_core.backends.hpu_probe import probe_hpu
from w2v_core.backends.hpu_telemetry import acquired_card, card_state, firmware, query_hl_smi

pytestmark = pytest.mark.hpu


@pytest.fixture
def card(backend):
    """The session's backend, where it is a real card."""
    if backend.device_name == "simulated":
        pytest.skip("a simulated card has no driver, no hl-smi and no sensors")
    return backend


@pytest.fixture(params=["hpu-lazy", "hpu-eager"])
def backend(request):
    """Both modes; the one that this process does not have is skipped."""
    from tests.contract.backends import open_gaudi

    yield from open_gaudi(request.param.removeprefix("hpu-"))


def test_the_probe_finds_what_is_there(backend):
    finding = probe_hpu()

    assert finding.ok, finding
    assert int(finding.facts["cards"]) >= 1


def test_the_fingerprint_names_card_build_driver_and_module(card):
    found = card.fingerprint()

    missing = [k for k in ("card", "synapse_build", "driver", "module_id") if not found.get(k)]
    assert missing == []


def test_firmware_is_that_of_the_acquired_card(card):
    number = acquired_card()

    assert number is not None
    assert firmware(number).get("module_id")


def test_hl_smi_is_read(card):
    if shutil.which("hl-smi") is None:
        pytest.skip("hl-smi is not installed")

    cards = query_hl_smi()

    assert cards
    assert all(row.get("module_id", "").isdigit() for row in cards)


def test_power_is_read_through_pyhlml(card):
    if importlib.util.find_spec("pyhlml") is None:
        pytest.skip("pyhlml is not installed; the extra hpu brings it")

    state = card_state(str(card.fingerprint()["module_id"]))

    assert 0 < state["card_power_w"] < 2000
    assert state["card_memory_total_bytes"] > 2**30
