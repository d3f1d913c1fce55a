"""Every fingerprint key that is read is one that a backend's real fingerprint writes."""

from types import SimpleNamespace

import pytest

from tests.contract.test_hpu_telemetry import SMI, Hlml, sysfs
from tests.helpers.records import ENVIRONMENT
from w2v_core.backends import hpu_telemetry
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.cuda import CudaBackend
from w2v_core.backends.hpu_telemetry import card_state, firmware, parse_hl_smi
from w2v_core.records import fields
from w2v_core.records.fingerprint import collect, difference, key, place

OF_THE_RECORD = {"checkpoint_sha256", "kernels", "graphs_by"}
"""Added to the fingerprint by bench/cell_record.py."""


@pytest.fixture
def gaudi(hpu_backend, monkeypatch, tmp_path):
    """The fingerprint of the simulated card with drivers and tools that answer."""
    root = sysfs(tmp_path, cards=1)
    monkeypatch.setattr(hpu_telemetry, "firmware", lambda card: firmware(None, (root,)))
    monkeypatch.setattr(hpu_telemetry, "query_hl_smi", lambda: parse_hl_smi(SMI))
    monkeypatch.setattr(hpu_telemetry, "card_state", lambda module: card_state(None, Hlml))
    monkeypatch.setenv("PT_HPU_LAZY_MODE", "1")
    return collect(hpu_backend)


@pytest.fixture
def cuda(monkeypatch):
    """The fingerprint of a CUDA card, by the backend's own code."""
    card = SimpleNamespace(name="H100", total_memory=1, major=9, minor=0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: card)
    backend = object.__new__(CudaBackend)
    described = SimpleNamespace(device=None)
    return collect(
        SimpleNamespace(
            name=backend.name,
            device_name="H100",
            fingerprint=lambda: CudaBackend.fingerprint(described),
        )
    )


def test_every_key_that_is_read_is_written_by_a_backend(gaudi, cuda):
    """D1, D2: a key that nobody writes makes a check that cannot fail."""
    written = {*collect(CpuBackend()), *gaudi, *cuda, *OF_THE_RECORD}
    read = {
        *(name for _, names in fields.KEY_FIELDS for name in names),
        *(row.name for row in fields.KEYS if not row.is_prefix),
        *fields.RELEASE_KEYS,
        *fields.MACHINE_KEYS,
    }
    settings = {name for name in read if name.startswith("PT_")}  # of the environment, by prefix

    assert read - written - settings == set()


def test_a_family_of_keys_is_one_that_a_fingerprint_collects(gaudi):
    """A prefix covers a key that is written, or a variable that is asked of the environment."""
    from w2v_core.backends.hpu_environment import _PREFIXES
    from w2v_core.records.fingerprint import PACKAGES, VARIABLES

    known = (*gaudi, *OF_THE_RECORD, *PACKAGES, *VARIABLES, *_PREFIXES)
    lost = [
        row.name
        for row in fields.KEYS
        if row.is_prefix and not any(name.startswith(row.name) for name in known)
    ]
    assert [name for name in lost if name not in ("card_clock", "card_temperature")] == []


def test_the_fixtures_of_the_unit_tests_hold_only_keys_that_are_written(gaudi):
    assert set(ENVIRONMENT) - set(gaudi) - OF_THE_RECORD == set()


def test_a_gaudi_is_keyed_by_everything_that_identifies_it(gaudi):
    """No part of a Gaudi's key is unknown, or two of them would share a baseline."""
    unread = [name for name, value in key(gaudi).items() if value == "unknown"]

    assert set(unread) <= {"cuda", "synapse", "threads"}  # the last two are no Gaudi's here


def test_another_host_is_another_place():
    """D1: `host` is what is written; the same card type on another host is another place."""
    here = collect(CpuBackend())

    assert place({**here, "container": None}) != place({**here, "container": None, "host": "b"})


def test_a_container_of_the_same_machine_is_the_same_place():
    """A container's host name is another one each time; the machine's boot is not."""
    here = {**collect(CpuBackend()), "container": "docker", "boot_id": "x", "host": "3fa9"}

    assert place(here) == place({**here, "host": "77ab"})
    assert place(here) != place({**here, "host": "77ab", "boot_id": "y"})


def test_a_card_of_known_serial_is_its_own_place():
    here = {**collect(CpuBackend()), "card_uuid": "01P0-HL2080", "container": "docker"}

    assert place(here) == place({**here, "host": "another", "boot_id": "after a reboot"})
    assert place(here) != place({**here, "card_uuid": "01P0-HL2081"})


def test_a_difference_leaves_out_what_changes_by_the_minute(gaudi):
    later = {**gaudi, "card_power_w": 500.0, "boot_id": "after", "synapse_build": "1.25"}

    assert [row.field for row in difference(gaudi, later)] == ["synapse_build"]
