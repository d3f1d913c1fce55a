"""Installing into a Gaudi image: what the vendor put there stays."""

import email
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.helpers.wheels import write_wheel

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "deploy" / "image-constraints.sh"
IMAGE = {
    "numpy": "1.26.4",
    "torch": "2.6.0+hpu.1.21.0.555.git4952fce",
    "transformers": "4.49.0",
    "huggingface-hub": "0.36.0",
    "tokenizers": "0.21.4",
    "datasets": "3.0.1",
    "habana-pyhlml": "1.19.0.561",
}
"""As a vendor's image with optimum-habana on it."""
KEPT = IMAGE.keys() - {"habana-pyhlml"}  # which follows the driver
INDEX = {
    "numpy": {"1.26.4": [], "2.2.6": []},
    "torch": {"2.13.0": ["numpy>=2"]},
    "transformers": {"5.20.2": ["numpy>=2", "huggingface-hub>=2", "tokenizers>=0.22"]},
    "huggingface-hub": {"2.4.0": []},
    "tokenizers": {"0.23.3": []},
    "datasets": {"5.2.0": ["numpy>=2", "huggingface-hub>=2"]},
    "habana-pyhlml": {"1.21.0.555": [], "1.24.2.481": []},
    "scipy": {"1.11.4": ["numpy>=1.21"], "1.15.3": ["numpy>=2"]},
    "pandas": {"2.1.4": ["numpy>=1.26"], "2.3.3": ["numpy>=2"]},
}
"""What a registry offers: newer releases of all that the image has, most of them for numpy 2."""
PINNED = (ROOT / "constraints.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """What this tree's wheel says of itself."""
    pytest.importorskip("setuptools", minversion="77", reason="pyproject.toml asks for it to build")
    folder = tmp_path_factory.mktemp("metadata")
    code = "import sys; from setuptools import build_meta as b; "
    code += "b.prepare_metadata_for_build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", code, folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.dist-info/METADATA")
    return path.read_text()


@pytest.fixture(scope="module")
def registry(tmp_path_factory, metadata):
    """A folder of wheels: the index above, this project, and all else that it requires."""
    folder = tmp_path_factory.mktemp("registry")
    for name, releases in INDEX.items():
        for version, requires in releases.items():
            write_wheel(folder, name, version, *requires)
    for line in PINNED:
        name, _, version = line.partition("==")
        if version and name.lower().replace("_", "-") not in INDEX:
            write_wheel(folder, name, version)
    version = email.message_from_string(metadata)["Version"]
    write_wheel(folder, "w2v-core", version, metadata=metadata)
    return folder


@pytest.fixture
def image(tmp_path):
    """An environment as in the vendor's image; called with what it has."""

    def make(packages):
        home = tmp_path / "image"
        venv.create(home, symlinks=True)
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        files = [write_wheel(wheels, name, version) for name, version in packages.items()]
        if files:
            _pip(home, "install", "--no-index", "--no-deps", *files)
        return home

    return make


def _pip(home, *arguments):
    command = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, cwd=home
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _versions(home):
    listed = json.loads(_pip(home, "list", "--format=json", "--disable-pip-version-check"))
    return {row["name"].lower(): row["version"] for row in listed}


def _constraints(home, tmp_path, driver=None):
    """Run the script as in the image; its python has no pip of its own here."""
    pip = f'shift 2\nexec {sys.executable} -m pip --python {home}/bin/python "$@"'
    target = tmp_path / "image.txt"
    target.write_text(_run_script(tmp_path, pip, driver))
    return target


def _run_script(folder, pip, driver=None):
    """Run the script with these lines of sh as its python, and return what it prints."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{pip}\n")
    python.chmod(0o755)
    version = folder / "driver"
    if driver is not None:
        version.write_text(f"{driver}\n")
    environ = {**os.environ, "PYTHON": str(python), "HABANALABS_VERSION_FILE": str(version)}
    command = ["sh", SCRIPT]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True, cwd=folder
    ).stdout


def _install(home, registry, constraints):
    wanted = "w2v-core[test,hpu]"
    _pip(home, "install", "--no-index", "--find-links", registry, wanted, "-c", constraints)
    return _versions(home)


@pytest.mark.slow
def test_the_line_for_gaudi_changes_no_package_of_the_image(image, registry, tmp_path):
    home = image(IMAGE)

    after = _install(home, registry, _constraints(home, tmp_path, driver="1.21.0-d74fb08"))

    assert {name: after[name] for name in IMAGE} == IMAGE
    assert (after["scipy"], after["pandas"]) == ("1.11.4", "2.1.4")


@pytest.mark.slow
def test_the_pins_alone_would_replace_them(image, registry):
    """Which is why the line asks the machine first; here pip could replace, and does."""
    after = _install(image(IMAGE), registry, ROOT / "constraints.txt")

    assert after["numpy"] != IMAGE["numpy"]


@pytest.mark.slow
def test_the_same_line_pins_everything_on_a_fresh_machine(image, registry, tmp_path):
    home = image({})

    after = _install(home, registry, _constraints(home, tmp_path))

    pins = dict(line.lower().replace("_", "-").split("==") for line in PINNED if "==" in line)
    free = {"w2v-core", "habana-pyhlml"}  # pyhlml follows the driver, and is for cards only
    assert {name: version for name, version in after.items() if name not in free} == {
        name: pins[name] for name in after if name not in free
    }


def test_a_fresh_machines_own_tools_are_not_held(tmp_path):
    """A venv brings an old setuptools, and torch asks for a newer one."""
    constraints = _run_script(tmp_path, r"printf 'pip==23.2.1\nsetuptools==65.5.0\n'")

    assert constraints == (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("name", sorted(KEPT))
def test_one_package_of_the_image_is_enough_to_choose_no_other(tmp_path, name):
    """Pins beside an image's packages would not fit them."""
    listed = f"pip==26.3\n{name}=={IMAGE[name]}\nw2v-core==0.1.0\n"

    constraints = _run_script(tmp_path, f"cat <<'EOF'\n{listed}EOF")

    assert constraints == listed.replace("w2v-core==0.1.0\n", "")


@pytest.mark.slow
def test_a_missing_pyhlml_follows_the_driver(image, registry, tmp_path):
    home = image({n: v for n, v in IMAGE.items() if n != "habana-pyhlml"})

    after = _install(home, registry, _constraints(home, tmp_path, driver="1.21.0-d74fb08"))

    assert after["habana-pyhlml"] == "1.21.0.555"


def test_the_requirements_do_not_depend_on_the_machine_that_builds(metadata):
    """Lower bounds only, in the file; what an image has satisfies them."""
    lines = email.message_from_string(metadata).get_all("Requires-Dist")
    required = [line for line in lines if "extra ==" not in line]

    assert not (ROOT / "setup.py").exists()
    assert "torch>=2.6" in required
    assert "numpy>=1.26" in required
    assert all("==" not in line and "<" not in line for line in required)
