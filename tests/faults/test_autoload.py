"""The bridge loads itself inside ``import torch``: it must find the mode that was asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.bridge import RELEASES, bridge_environment, install_bridge, loads

ROOT = Path(__file__).resolve().parents[2]
FORK = "2.6.0+hpu.1.21.0.555.git4952fce"
W2V = (sys.executable, "-m", "w2v_core")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
FRONT_ENDS = {
    "pytest": (*PYTEST, "-m", "hpu", "tests/contract"),
    "pytest-not-slow": (*PYTEST, "-m", "hpu and not slow"),
    "run": (*W2V, "run", "--device", "hpu", "--model", "canary-base"),
    "doctor": (*W2V, "doctor", "--device", "hpu"),
}
EVERY_LOAD = {
    "PT_HPU_PLACE_ON_CPU": "none",
    "PT_HPU_ENABLE_CACHE_METRICS": "1",
    "PT_HPU_WEIGHT_SHARING": "0",
    "HABANA_PROFILE": "0",
}


@pytest.fixture(scope="module")
def bridges(tmp_path_factory):
    """A folder for PYTHONPATH per release."""
    folders = {release: tmp_path_factory.mktemp("bridge") for release in RELEASES}
    for release, folder in folders.items():
        install_bridge(folder, release=release, torch=FORK)
    return folders


def matrix():
    """All of it; the rows that a broken order breaks first run in every session."""
    for release in RELEASES:
        for mode in ("lazy", "eager"):
            for front_end in FRONT_ENDS:
                fast = (release, mode) == ("1.21", "lazy") and front_end in ("pytest", "run")
                marks = () if fast else (pytest.mark.slow,)
                yield pytest.param(release, mode, front_end, marks=marks)


@pytest.mark.parametrize(("release", "mode", "front_end"), list(matrix()))
def test_the_bridge_is_loaded_once_with_everything_set(bridges, tmp_path, release, mode, front_end):
    """No card is behind this bridge, so each front end ends after it has looked."""
    log = tmp_path / "loads"
    command = [*FRONT_ENDS[front_end], "--execution", mode]

    done = subprocess.run(
        command,
        cwd=ROOT,
        env=bridge_environment(bridges[release], log),
        capture_output=True,
        text=True,
        check=False,
    )

    (seen,) = loads(log)
    expected = {**EVERY_LOAD, "PT_HPU_LAZY_MODE": "1" if mode == "lazy" else "0"}
    assert {name: seen.get(name) for name in expected} == expected
    assert "a Gaudi card that the driver shows" in done.stdout + done.stderr
    assert done.returncode in (3, 4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lazy", "eager"])
@pytest.mark.parametrize("release", RELEASES)
def test_a_worker_of_xdist_finds_the_mode_as_well(bridges, tmp_path, release, mode):
    """The worker is a process of its own, which imports torch before it has the options."""
    pytest.importorskip("xdist")
    log = tmp_path / "loads"

    subprocess.run(
        [*FRONT_ENDS["pytest"], "--execution", mode, "-n", "1"],
        cwd=ROOT,
        env=bridge_environment(bridges[release], log, STANDIN_CARD="1"),
        capture_output=True,
        check=False,
    )

    seen = loads(log)
    assert seen != []
    assert {one.get("PT_HPU_LAZY_MODE") for one in seen} == {"1" if mode == "lazy" else "0"}


@pytest.mark.slow
@pytest.mark.parametrize("autoload", ["0", "1"])
@pytest.mark.parametrize("release", RELEASES)
def test_what_the_user_says_of_loading_stays_and_the_mode_is_right(
    bridges, tmp_path, release, autoload
):
    """With 1 the vendor's warnings come inside ``import torch``, where warnings are errors."""
    log = tmp_path / "loads"
    environ = bridge_environment(bridges[release], log, PT_HPU_AUTOLOAD=autoload)

    subprocess.run(
        [*FRONT_ENDS["pytest"], "--execution", "lazy"], cwd=ROOT, env=environ, check=False
    )

    (seen,) = loads(log)
    assert (seen["PT_HPU_LAZY_MODE"], seen["PT_HPU_AUTOLOAD"]) == ("1", autoload)


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_session_on_the_host_needs_no_bridge(bridges, tmp_path, release):
    """``-m cpu`` on a Gaudi host: nothing is loaded, and no warning of the vendor ends it."""
    log = tmp_path / "loads"
    command = [*PYTEST, "--device", "cpu", "-q", "tests/unit/test_ctc.py"]

    done = subprocess.run(
        command, cwd=ROOT, env=bridge_environment(bridges[release], log), check=False
    )

    assert (done.returncode, loads(log)) == (0, [])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lazy", "eager"])
def test_a_cell_is_measured_behind_a_bridge_that_loads_itself(bridges, tmp_path, mode):
    """The simulated card stands behind the bridge's import, and warnings are errors."""
    log = tmp_path / "loads"
    environ = bridge_environment(bridges["1.21"], log, STANDIN_CARD="1")
    options = (
        "--models canary-base --dtypes float32 --limit 2 --rounds 1 --buckets 1 --batch-size 2"
    )
    command = [*PYTEST, "-m", "hpu", "tests/validation", "--reports-dir", tmp_path / "reports"]

    done = subprocess.run(
        [*command, *options.split(), "--execution", mode],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert len(loads(log)) == 1


def test_no_conftest_imports_torch():
    """What pytest imports before it has read its options must not load anything that has modes."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(ROOT.glob("tests/**/conftest.py"))
    ]
    code = "import sys, conftest, tests.hpusim.simulate_option, " + ", ".join(modules)

    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], cwd=ROOT, check=False
    )

    assert done.returncode == 0
    assert "tests.contract.conftest" in modules


def test_on_stock_torch_eager_is_chosen_and_said(tmp_path):
    """Nobody asked for a mode; the release's own default would have been lazy."""
    bridge, log = tmp_path / "bridge", tmp_path / "loads"
    bridge.mkdir()
    install_bridge(bridge, release="1.20", torch="2.6.0+cpu")

    done = subprocess.run(
        FRONT_ENDS["run"],
        cwd=ROOT,
        env=bridge_environment(bridge, log),
        capture_output=True,
        text=True,
        check=False,
    )

    (seen,) = loads(log)
    assert seen["PT_HPU_LAZY_MODE"] == "0"
    assert "note: execution eager: stock torch" in done.stderr


def test_lazy_on_stock_torch_is_refused_before_anything_is_loaded(tmp_path):
    bridge, log = tmp_path / "bridge", tmp_path / "loads"
    bridge.mkdir()
    install_bridge(bridge, release="1.21", torch="2.6.0+cpu")

    done = subprocess.run(
        [*FRONT_ENDS["run"], "--execution", "lazy"],
        cwd=ROOT,
        env=bridge_environment(bridge, log),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "use --execution eager" in done.stderr
    assert "pytorch-installer" in done.stderr
    assert loads(log) == []
