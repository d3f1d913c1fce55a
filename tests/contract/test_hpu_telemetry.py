"""What is read of a card and its driver, on a machine that has neither."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from w2v_core.backends.hpu_environment import only_visible_module
from w2v_core.backends.hpu_telemetry import (
    FIELDS,
    acquired_card,
    card_state,
    firmware,
    hl_smi_card,
    parse_hl_smi,
    query_hl_smi,
)

SMI = (
    "0, 01P0-HL2080A0-15-TNBS31-02-08-04, HL-225, 1.19.0-6af6fa5, 3, 0000:19:00.0, 98304 MiB, "
    "672 MiB, 97632 MiB, 92 W, 600 W, 28 C, 0 %\n"
)


pytestmark = pytest.mark.hpu(needs_card=False)  # concerns the card, and runs without one


def test_hl_smi_row_is_read_by_field() -> None:
    (card,) = parse_hl_smi(SMI)
    assert (card["name"], card["module_id"], card["power.draw"]) == ("HL-225", "3", "92 W")


def test_row_with_other_fields_is_dropped() -> None:
    assert parse_hl_smi("0, HL-225\n") == []


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("hl-smi"), subprocess.CalledProcessError(1, "hl-smi")],
    ids=["absent", "failed"],
)
def test_hl_smi_that_does_not_work_gives_nothing(error: Exception) -> None:
    def run(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    assert query_hl_smi(run) == []


@pytest.mark.parametrize(
    ("target", "card"),
    [
        pytest.param("/dev/accel/accel3", 3, id="accel"),
        pytest.param("/dev/accel/accel10", 10, id="two-digits"),
        pytest.param("/dev/hl2", 2, id="older-driver"),
        pytest.param("/dev/accel/accel_controlD3", None, id="control"),
        pytest.param("/dev/hl_controlD3", None, id="older-control"),
        pytest.param("/elsewhere/accel3", None, id="elsewhere"),
    ],
)
def test_acquired_card_is_the_one_whose_device_file_is_open(
    tmp_path: Path, target: str, card: int | None
) -> None:
    (tmp_path / "0").symlink_to("/dev/null")
    (tmp_path / "7").symlink_to(target)
    assert acquired_card(tmp_path) == card


def sysfs(root: Path, *, cards: int, name: str = "accel{}") -> Path:
    """Card n has module id 7 - n, and all have one firmware."""
    for number in range(cards):
        for entry in (name.format(number), f"accel_controlD{number}"):
            device = root / entry / "device"
            device.mkdir(parents=True)
            (device / "armcp_kernel_ver").write_text("hl-gaudi2-1.19.0\n")
            (device / "module_id").write_text(f"{7 - number}\n")
    return root


@pytest.mark.parametrize("name", ["accel{}", "hl{}"])
def test_firmware_is_that_of_the_acquired_card(tmp_path: Path, name: str) -> None:
    root = sysfs(tmp_path / "class", cards=8, name=name)
    assert firmware(4, (tmp_path / "none", root)) == {
        "firmware": "hl-gaudi2-1.19.0",
        "firmware_boot": None,
        "module_id": "3",
    }


def test_firmware_of_an_unknown_card_is_what_all_cards_agree_on(tmp_path: Path) -> None:
    found = firmware(None, (sysfs(tmp_path, cards=8),))
    assert found == {"firmware": "hl-gaudi2-1.19.0", "firmware_boot": None}


OTHER_SMI = SMI.replace("HL2080A0", "HL2080A1").replace(", 3,", ", 5,")


def test_hl_smi_identity_is_that_of_the_module() -> None:
    cards = parse_hl_smi(OTHER_SMI + SMI)
    assert hl_smi_card(cards, "3")["card_uuid"] == cards[1]["uuid"]
    assert hl_smi_card(cards, "5")["card_uuid"] == cards[0]["uuid"]


def test_hl_smi_identity_of_an_unknown_module_is_what_all_agree_on() -> None:
    found = hl_smi_card(parse_hl_smi(OTHER_SMI + SMI), None)
    assert found["card"] == "HL-225"
    assert "card_uuid" not in found
    assert "module_id" not in found


@pytest.mark.parametrize(
    ("environ", "module_id"),
    [
        pytest.param({"HABANA_VISIBLE_MODULES": "3"}, "3", id="one"),
        pytest.param({"HABANA_VISIBLE_MODULES": "3,4"}, None, id="two"),
        pytest.param({"HLS_MODULE_ID": "5", "HABANA_VISIBLE_MODULES": "3,5"}, "5", id="chosen"),
        pytest.param({"HABANA_VISIBLE_MODULES": ""}, None, id="empty"),
        pytest.param({}, None, id="unset"),
    ],
)
def test_module_is_known_where_the_environment_leaves_no_choice(
    environ: dict[str, str], module_id: str | None
) -> None:
    assert only_visible_module(environ) == module_id


class Hlml:
    """The calls of pyhlml that are used, as 1.24.2 names them; card n has module id 7 - n."""

    def __init__(self, *, fail: str = "", cards: int = 1) -> None:
        self.fail, self.cards, self.shut_down = fail, cards, False

    def hlmlDeviceGetCount(self) -> int:  # noqa: N802 - pyhlml's names
        return self.cards

    def hlmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def hlmlDeviceGetModuleID(self, handle: int) -> int:  # noqa: N802
        return 7 - handle

    def hlmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 92_000 + 1_000 * handle

    def __getattr__(self, name: str) -> Any:
        if name == self.fail:
            raise RuntimeError(name)
        values: dict[str, Any] = {
            "hlmlDeviceGetUtilizationRates": SimpleNamespace(aip=50, memory=1),
            "hlmlDeviceGetMemoryInfo": SimpleNamespace(total=96 << 30, used=1 << 20),
            "hlmlGetDriverVersion": b"1.19.0",
            "hlmlDeviceGetFirmwareSPIVersion": b"Preboot 1.19",
        }
        return lambda *_args: values.get(name)

    def hlmlShutdown(self) -> None:  # noqa: N802 - pyhlml's name
        self.shut_down = True


def test_card_state_is_in_si_units() -> None:
    state = card_state(None, Hlml)
    assert (state["card_power_w"], state["card_utilization"]) == (92.0, 0.5)
    assert state["hlml_driver"] == "1.19.0"


def test_card_state_is_that_of_the_module() -> None:
    assert card_state("5", lambda: Hlml(cards=8))["card_power_w"] == 94.0


def test_card_state_of_an_unknown_module_is_not_guessed() -> None:
    assert card_state(None, lambda: Hlml(cards=8)) == {}


def test_card_state_of_a_plain_host_is_empty() -> None:
    assert card_state(None, lambda: Hlml(fail="hlmlInit")) == {}


def test_card_state_shuts_down_after_a_failure() -> None:
    hlml = Hlml(fail="hlmlDeviceGetMemoryInfo")
    assert card_state(None, lambda: hlml) == {}
    assert hlml.shut_down


def test_a_field_that_this_release_does_not_know_costs_that_field_only() -> None:
    """hl-smi refuses the whole query for it."""
    known = dict(zip(FIELDS, (value.strip() for value in SMI.split(",")), strict=True))

    def hl_smi(command: list[str], **_options: Any) -> SimpleNamespace:
        asked = command[2].split(",")
        if "utilization.aip" in asked:
            raise subprocess.CalledProcessError(1, command)
        return SimpleNamespace(stdout=", ".join(known[name] for name in asked) + "\n")

    (card,) = query_hl_smi(hl_smi)

    assert card == {k: v for k, v in known.items() if k != "utilization.aip"}


def test_a_card_whose_name_is_unknown_keeps_its_other_fields() -> None:
    cards = [{"index": "0", "uuid": "01P0", "module_id": "3"}]

    assert hl_smi_card(cards, "3") == {"card_uuid": "01P0", "module_id": "3"}
