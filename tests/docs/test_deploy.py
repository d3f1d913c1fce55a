"""What people copy out of docs/deploy: it parses, fits its schema, and runs what it says."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.matrix.environments import ENVIRONMENTS
from w2v_core.options.option import options_of

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs" / "deploy"
SHELL = sorted(DEPLOY.glob("*.sh"))
DOCKER = sorted(DEPLOY.glob("Dockerfile.*"))
INSTRUCTION = re.compile(r"(?:ARG|FROM|WORKDIR|COPY|RUN|ENTRYPOINT|CMD|ENV) \S")


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def load(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def test_everything_is_there():
    assert {path.name for path in DEPLOY.iterdir()} == {
        *("Dockerfile.fork", "Dockerfile.upstream", "kubernetes-job.yaml", "slurm.sh"),
        *("github-matrix.yml", "github-nightly.yml", "nightly.sh", "image-constraints.sh"),
    }


@named(SHELL)
def test_a_script_parses(path):
    shell = path.read_text().partition("\n")[0].rpartition("/")[2]

    subprocess.run([shell, "-n", path], check=True)


@named(SHELL)
def test_a_script_passes_shellcheck(path):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")

    subprocess.run(["shellcheck", path], check=True)


@named(DOCKER)
def test_a_dockerfile_installs_with_the_images_constraints(path):
    joined = path.read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]

    assert all(INSTRUCTION.match(line) for line in lines)
    assert next(line.split()[0] for line in lines if line.split()[0] != "ARG") == "FROM"
    (run,) = [line for line in lines if line.startswith("RUN")]
    assert "image-constraints.sh >/tmp/image.txt" in run
    assert "-c /tmp/image.txt" in run
    assert "constraints.txt" not in run
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT")]
    for word in json.loads(entry.removeprefix("ENTRYPOINT ")):
        assert "/" not in word or (ROOT / word).is_file()
    used = set(re.findall(r"\$\{(\w+)\}", joined))
    assert used == {line.split()[1].partition("=")[0] for line in lines if line.startswith("ARG")}


def test_the_two_images_are_the_two_families():
    bases = [re.search(r"pytorch-(?:upstream-)?installer", path.read_text())[0] for path in DOCKER]

    assert bases == ["pytorch-installer", "pytorch-upstream-installer"]


def test_the_job_asks_for_one_card_and_is_not_repeated():
    """Names and places as in the API of batch/v1; an extended resource's request is its limit."""
    job = load("kubernetes-job.yaml")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    assert (job["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    resources = container["resources"]
    assert resources["limits"]["habana.ai/gaudi"] == 1
    assert resources["requests"] == resources["limits"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert all(isinstance(entry["value"], str) for entry in container["env"])


def test_the_workflow_keeps_its_reports_whatever_happens():
    workflow = load("github-nightly.yml")
    (job,) = workflow["jobs"].values()
    steps = job["steps"]

    assert "self-hosted" in job["runs-on"]
    assert workflow[True]["schedule"]  # YAML 1.1 reads the key "on" as true
    assert all(("uses" in step) != ("run" in step) for step in steps)
    (keep,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert keep["if"] == "always()"
    assert not workflow["concurrency"]["cancel-in-progress"]
    for step in steps:
        for script in re.findall(r"sh (docs/\S+)", step.get("run", "")):
            assert (ROOT / script).is_file()


def test_the_matrix_runs_every_environment_on_its_python():
    (job,) = load("github-matrix.yml")["jobs"].values()
    rows = job["strategy"]["matrix"]["include"]

    assert [(row["environment"], row["python"]) for row in rows] == [
        (environment.name, environment.python) for environment in ENVIRONMENTS
    ]
    assert not job["strategy"]["fail-fast"]
    assert "python3 -m tests.matrix ${{ matrix.environment }}" in job["steps"][-1]["run"]


def test_the_slurm_script_gives_pytest_one_task_and_one_card():
    text = (DEPLOY / "slurm.sh").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))

    assert (options["ntasks"], options["gres"]) == ("1", "gpu:1")
    assert len(options) == len(re.findall("^#SBATCH", text, re.MULTILINE))


@pytest.fixture
def night(tmp_path):
    """Run nightly.sh with a w2v that notes how it was called."""

    def run(*arguments, status=0, **environ):
        programs = tmp_path / "bin"
        programs.mkdir()
        program = programs / "w2v"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/called\nexit {status}\n')
        program.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("W2V_", "GITHUB_"))}
        done = subprocess.run(
            ["sh", DEPLOY / "nightly.sh", *arguments],
            cwd=tmp_path,
            env={**clean, "PATH": path, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        called = tmp_path / "called"
        return done, called.read_text().splitlines() if called.exists() else []

    return run


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_night_ends_with_the_commands_status(night, status):
    done, called = night("1.24.0", status=status)

    assert done.returncode == status
    assert called[:3] == ["night", "--release", "1.24.0"]
    assert "--baseline" not in called


def test_a_night_with_baselines_is_gated_and_takes_further_options(night):
    _, called = night("1.24.0", "--execution", "both", W2V_BASELINES="base lines")

    assert called[called.index("--baseline") + 1] == "base lines"
    assert called[-3:] == ["--", "--execution", "both"]


def test_a_night_needs_the_name_of_its_release(night):
    done, called = night()

    assert done.returncode != 0
    assert "usage" in done.stderr
    assert called == []


def test_the_options_of_the_night_exist():
    asked = set(re.findall(r"(?<=[\s+])--[a-z-]+", (DEPLOY / "nightly.sh").read_text()))
    known = {flag.shown for o in options_of("night").values() for flag in [o.on["night"]]}

    assert len(asked) > 3
    assert asked <= known
