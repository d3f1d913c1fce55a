"""Environment, probe and telemetry of the HPU backend, on a machine that has none of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from w2v_core.backends.hpu_environment import (
    BRIDGE,
    bridge_installed,
    effective_environment,
    prepare_environment,
)
from w2v_core.backends.hpu_probe import Bridge, probe_hpu
from w2v_core.backends.hpu_telemetry import card_state, firmware, parse_hl_smi, query_hl_smi
from w2v_core.errors import DeviceError

# ------------------------------------------------------------------ environment


def test_lazy_is_the_default_and_is_always_written_down() -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ=environ, loaded=())
    assert environ["PT_HPU_LAZY_MODE"] == "1"


def test_unset_execution_follows_the_environment() -> None:
    environ = {"PT_HPU_LAZY_MODE": "0"}
    prepare_environment(environ=environ, loaded=())
    assert environ["PT_HPU_LAZY_MODE"] == "0"


def test_contradicting_execution_is_refused() -> None:
    with pytest.raises(DeviceError, match="PT_HPU_LAZY_MODE is '0'"):
        prepare_environment(execution="lazy", environ={"PT_HPU_LAZY_MODE": "0"}, loaded=())


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("strict", "PT_HPU_PLACE_ON_CPU", "none"),
        ("profile", "HABANA_PROFILE", "1"),
        ("debug", "LOG_LEVEL_PT_FALLBACK", "1"),
    ],
)
def test_option_sets_its_variable(option: str, name: str, value: str) -> None:
    on: dict[str, str] = {}
    off: dict[str, str] = {}
    prepare_environment(**{"strict": False, option: True}, environ=on, loaded=())
    prepare_environment(strict=False, environ=off, loaded=())
    assert on[name] == value
    assert off.get(name) != value


def test_value_of_the_user_stays() -> None:
    environ = {"PT_HPU_PLACE_ON_CPU": "add"}
    set_here = prepare_environment(strict=True, environ=environ, loaded=())
    assert environ["PT_HPU_PLACE_ON_CPU"] == "add"
    assert "PT_HPU_PLACE_ON_CPU" not in set_here


def test_loaded_bridge_needs_a_fresh_process() -> None:
    with pytest.raises(DeviceError, match="fresh process"):
        prepare_environment(environ={}, loaded=(BRIDGE,))


def test_loaded_bridge_with_everything_set_is_fine() -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ=environ, loaded=())
    assert prepare_environment(environ=environ, loaded=(BRIDGE,)) == {}


def test_effective_environment_is_the_bridges_variables_only() -> None:
    environ = {"PT_HPU_LAZY_MODE": "1", "HABANA_PROFILE": "0", "HOME": "/", "HLS_MODULE_ID": "3"}
    assert effective_environment(environ) == {k: v for k, v in environ.items() if k != "HOME"}


def test_environment_module_imports_no_torch() -> None:
    code = (
        "import sys; import w2v_core.backends.hpu_environment, w2v_core.backends.hpu_probe, "
        "w2v_core.backends.hpu_telemetry; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_media_loader_alone_is_no_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """habana-media-loader makes ``import habana_frameworks`` succeed without ``.torch``."""
    (tmp_path / "habana_frameworks").mkdir()
    (tmp_path / "habana_frameworks" / "__init__.py").touch()
    for name in [m for m in sys.modules if m.split(".")[0] == "habana_frameworks"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert not bridge_installed()
    sys.modules.pop("habana_frameworks", None)


# ------------------------------------------------------------------ probe


def bridge(*, cards: int = 1) -> Bridge:
    hpu = SimpleNamespace(is_available=lambda: cards > 0, device_count=lambda: cards)
    return Bridge(hpu=hpu, mark_step=lambda: None, metric_global=lambda _n: None, is_lazy=True)


def raising(error: BaseException) -> Any:
    def load() -> Bridge:
        raise error

    return load


def probed(tmp_path: Path, **kwargs: Any) -> Any:
    return probe_hpu(driver=tmp_path / "absent", **{"installed": lambda: True, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "missing", "remedy"),
    [
        pytest.param({"installed": lambda: False}, "plugin", "habanalabs-installer", id="plugin"),
        pytest.param(
            {"load": raising(AssertionError("torch 2.13 is not 2.5"))},
            "a torch that fits",
            "PT_HPU_LAZY_MODE",
            id="fork",
        ),
        pytest.param(
            {"load": raising(OSError("libhl_gcfg.so"))}, "library", "container", id="library"
        ),
        pytest.param({"load": lambda: bridge(cards=0)}, "card", "hl-smi", id="card"),
    ],
)
def test_probe_names_what_is_missing_and_what_to_do(
    tmp_path: Path, kwargs: dict[str, Any], missing: str, remedy: str
) -> None:
    finding = probed(tmp_path, **kwargs)
    assert not finding.ok
    assert missing in finding.missing
    assert remedy in finding.remedy


def test_probe_of_a_working_card_is_ok(tmp_path: Path) -> None:
    finding = probed(tmp_path, load=bridge)
    assert finding.ok
    assert finding.facts["execution"] == "lazy"


def test_finding_lists_all_it_saw(tmp_path: Path) -> None:
    lines = probed(tmp_path, load=raising(AssertionError("2.13 is not 2.5"))).lines
    assert lines[0] == "driver: not loaded"
    assert "2.13 is not 2.5" in lines[1]
    assert lines[-1].startswith("remedy: ")


# ------------------------------------------------------------------ telemetry

SMI = (
    "0, 01P0-HL2080A0-15-TNBS31-02-08-04, HL-225, 1.19.0-6af6fa5, 3, 0000:19:00.0, 98304 MiB, "
    "672 MiB, 97632 MiB, 92 W, 600 W, 28 C, 0 %\n"
)


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


def test_firmware_is_read_from_sysfs(tmp_path: Path) -> None:
    device = tmp_path / "accel0" / "device"
    device.mkdir(parents=True)
    (device / "armcp_kernel_ver").write_text("hl-gaudi2-1.19.0\n")
    (device / "module_id").write_text("3\n")
    assert firmware((tmp_path / "none", tmp_path)) == {
        "firmware": "hl-gaudi2-1.19.0",
        "firmware_boot": None,
        "module_id": "3",
    }


class Hlml:
    """The calls of pyhlml that are used, as 1.24.2 names them."""

    def __init__(self, *, fail: str = "") -> None:
        self.fail, self.shut_down = fail, False

    def __getattr__(self, name: str) -> Any:
        if name == self.fail:
            raise RuntimeError(name)
        values: dict[str, Any] = {
            "hlmlDeviceGetPowerUsage": 92_000,
            "hlmlDeviceGetUtilizationRates": SimpleNamespace(aip=50, memory=1),
            "hlmlDeviceGetMemoryInfo": SimpleNamespace(total=96 << 30, used=1 << 20),
            "hlmlGetDriverVersion": b"1.19.0",
            "hlmlDeviceGetFirmwareSPIVersion": b"Preboot 1.19",
        }
        return lambda *_args: values.get(name)

    def hlmlShutdown(self) -> None:  # noqa: N802 - pyhlml's name
        self.shut_down = True


def test_card_state_is_in_si_units() -> None:
    state = card_state(Hlml)
    assert (state["card_power_w"], state["card_utilization"]) == (92.0, 0.5)
    assert state["hlml_driver"] == "1.19.0"


def test_card_state_of_a_plain_host_is_empty() -> None:
    assert card_state(lambda: Hlml(fail="hlmlInit")) == {}


def test_card_state_shuts_down_after_a_failure() -> None:
    hlml = Hlml(fail="hlmlDeviceGetMemoryInfo")
    assert card_state(lambda: hlml) == {}
    assert hlml.shut_down
