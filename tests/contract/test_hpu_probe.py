"""Environment and probe of the HPU backend, on a machine that has no Gaudi."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from w2v_core.backends.hpu_environment import (
    BRIDGE,
    Execution,
    TorchFamily,
    bridge_installed,
    effective_environment,
    prepare_environment,
    set_up_profiler,
    torch_family,
)
from w2v_core.backends.hpu_probe import Bridge, probe_hpu
from w2v_core.errors import DeviceError

pytestmark = pytest.mark.hpu(needs_card=False)  # concerns the card, and runs without one

# ------------------------------------------------------------------ environment


@pytest.mark.parametrize(("family", "lazy"), [("fork", "1"), ("stock", "0")])
def test_the_mode_that_torch_can_do_is_the_default_and_is_always_written_down(
    family: TorchFamily, lazy: str
) -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ=environ, loaded=(), family=family)
    assert environ["PT_HPU_LAZY_MODE"] == lazy


@pytest.mark.parametrize(
    ("version", "family"),
    [
        ("2.13.0", "stock"),
        ("2.10.0+cpu", "stock"),
        ("2.6.0+cu126", "stock"),
        ("2.5.1a0+git6fc067b", "fork"),
        ("2.6.0+hpu.1.21.0.555.git4952fce", "fork"),
        ("2.7.1+hpu_1.22.0-740.git70adf2a", "fork"),
    ],
)
def test_the_image_family_is_read_from_torchs_local_version(version: str, family: str) -> None:
    assert torch_family(version) == family


@pytest.mark.parametrize(
    ("execution", "environ"), [("lazy", {}), (None, {"PT_HPU_LAZY_MODE": "1"})]
)
def test_lazy_on_stock_torch_names_the_other_mode_and_the_other_image(
    execution: Execution | None, environ: dict[str, str]
) -> None:
    with pytest.raises(DeviceError, match=r"use execution eager.*pytorch-installer"):
        prepare_environment(execution=execution, environ=environ, loaded=(), family="stock")


def test_a_bridge_that_is_loaded_has_accepted_its_torch() -> None:
    environ: dict[str, str] = {}
    prepare_environment(execution="lazy", environ=environ, loaded=(), family="fork")
    assert prepare_environment(execution="lazy", environ=environ, loaded=(BRIDGE,)) == {}


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


def test_the_seeds_variables_are_set() -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ=environ, loaded=())
    assert environ["PT_HPU_ENABLE_GENERIC_STREAM"] == "1"
    assert environ["PT_HPU_ENABLE_REFINE_DYNAMIC_SHAPES"] == "0"
    assert environ["HABANA_PROFILE"] == "0"
    assert environ["PT_HPU_WEIGHT_SHARING"] == "0"


def test_a_profile_follows_the_vendors_template_where_its_tools_are() -> None:
    ran: list[tuple[str, ...]] = []

    assert set_up_profiler(lambda command, **_: ran.append(command), lambda _: "/bin/x") is None
    assert set_up_profiler(lambda command, **_: ran.append(command), lambda _: None) is None
    assert ran == [("hl-prof-config", "--use-template", "profile_api", "--hw-trace", "off")]


def test_a_profiler_that_cannot_be_set_up_is_told_and_does_not_end_the_run() -> None:
    def fail(command: tuple[str, ...], **_: Any) -> None:
        raise subprocess.CalledProcessError(2, command)

    assert "hl-prof-config" in str(set_up_profiler(fail, lambda _: "/bin/x"))


BRIDGE_FILES = {
    "habana_frameworks/__init__.py": "",
    "habana_frameworks/torch/__init__.py": (
        "import os, sys, warnings\n"
        "assert 'torch' not in sys.modules\n"
        "READ = dict(os.environ)  # as the bridge: once, at import\n"
        "warnings.warn('the vendor warns')\n"
    ),
    "habana_frameworks/torch/core/__init__.py": "def mark_step(): ...\n",
    "habana_frameworks/torch/hpu/__init__.py": "",
    "habana_frameworks/torch/hpu/metrics.py": "def metric_global(name): ...\n",
    "habana_frameworks/torch/utils/__init__.py": "",
    "habana_frameworks/torch/utils/internal.py": (
        "from habana_frameworks.torch import READ\n"
        "def is_lazy(): return READ['PT_HPU_LAZY_MODE'] == '1'\n"
    ),
}


def test_bridge_is_loaded_with_its_mode_chosen_whatever_it_warns_of(tmp_path: Path) -> None:
    """Also where a caller forgot to prepare, and where warnings are errors, as in pytest.

    The mode is the one that the installed torch can do.
    """
    for name, text in BRIDGE_FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from w2v_core.backends.hpu_probe import load_bridge; "
        "from w2v_core.backends.hpu_environment import torch_family; "
        "bridge = load_bridge(); "
        "from habana_frameworks.torch import READ; "
        "lazy = torch_family() == 'fork'; "
        "sys.exit(not (bridge.is_lazy == lazy and READ['PT_HPU_PLACE_ON_CPU'] == 'none'))"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PT_", "HABANA_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environ,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


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
            {"load": raising(AttributeError("'NoneType' object has no attribute 'startswith'"))},
            "a torch that fits",
            "Habana's own build",
            id="stock-torch",
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
    assert finding.facts["cards"] == "1"


def test_finding_has_the_flags_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PT_HPU_PLACE_ON_CPU", "none")
    assert "PT_HPU_PLACE_ON_CPU: none" in probed(tmp_path, load=bridge).lines


def test_finding_lists_all_it_saw(tmp_path: Path) -> None:
    lines = probed(tmp_path, load=raising(AssertionError("2.13 is not 2.5"))).lines
    assert lines[0] == "driver: not loaded"
    assert "2.13 is not 2.5" in lines[1]
    assert lines[-1].startswith("remedy: ")
