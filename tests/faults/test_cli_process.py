"""w2v as a process: interrupts, pipes whose reader leaves, terminals, hostile vocabularies."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import encode, voiced, write_chapter
from w2v_core.records.history import History

W2V = [sys.executable, "-c", "import sys; from w2v_core.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    model = write_checkpoint(folder / "tiny")
    write_chapter(folder / "corpus", {f"7-1-000{i}": "A WORD" for i in range(3)})
    return ["--model", str(model), "--data_path", str(folder / "corpus"), "--device", "cpu"]


def environment(**changes):
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}


def wait_for(found, *, limit_s=120.0):
    started_s = time.perf_counter()
    while not found():
        assert time.perf_counter() - started_s < limit_s
        time.sleep(0.05)


def test_ctrl_c_ends_a_run_with_one_line_and_an_incomplete_directory(inputs, tmp_path):
    # A shell that starts the tests in the background has them, and their children, ignore Ctrl-C.
    heeds = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {W2V[2]}"
    command = [*W2V[:2], heeds, "run", *inputs, "--repeat", "1000000"]
    process = subprocess.Popen(
        [*command, "--reports-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    wait_for(lambda: list(tmp_path.glob("dev/*/INCOMPLETE")) or process.poll() is not None)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    (directory,) = tmp_path.glob("dev/*")
    assert process.returncode == 130
    assert out == ""
    assert err == f"w2v: interrupted; {directory} stays marked incomplete\n"
    assert [path.name for path in directory.iterdir()] == ["INCOMPLETE"]


INTERRUPTED_IN = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            exec("raise KeyboardInterrupt")
sys.meta_path.insert(0, Interrupt())
from w2v_core.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module", ["argparse", "w2v_core.commands.run", "numpy", "torch", "w2v_core.bench.rounds"]
)
def test_ctrl_c_while_packages_are_imported_is_one_line(module, inputs):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN.format(module=module), "run", *inputs],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )

    assert done.returncode == 130
    assert done.stderr == "w2v: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        pytest.param(["doctor", "--device", "cpu"], {141}, id="doctor"),
        pytest.param(["completion", "bash"], {141}, id="completion"),
        pytest.param(["run", "--help"], {0, 141}, id="help"),  # argparse looks away itself
    ],
)
def test_a_reader_that_leaves_is_no_traceback(arguments, codes):
    process = subprocess.Popen(
        [*W2V, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()

    assert process.wait(timeout=60) in codes
    assert err == ""


CLOSED = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-", "all": "<&- >&- 2>&-"}
QUICK = {"completion bash": 0, "gate no-such --baseline x": 3, "run --limit 0": 2}


def shell(line, *arguments):
    """Run a line of bash; ``"$@"`` in it is w2v with the arguments."""
    command = ["bash", "-c", line, "bash", *W2V, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment()
    )


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("arguments", QUICK)
def test_a_stream_that_is_closed_changes_no_exit_code(arguments, closed):
    done = shell(f'"$@" {CLOSED[closed]}', *arguments.split())

    assert done.returncode == QUICK[arguments], done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", [*CLOSED.values(), ">/dev/full", "| head -c 0"])
def test_a_run_whose_output_goes_nowhere_is_kept(closed, inputs, tmp_path):
    """Its reports and its history are written before anybody is told."""
    history = tmp_path / "history.sqlite"
    kept = ["--reports-dir", str(tmp_path / "r"), "--history", str(history)]
    done = shell(f'"$@" {closed}', "run", *inputs, *kept)

    assert "Traceback" not in done.stderr
    assert done.returncode == (3 if "full" in closed else 0), done.stderr
    assert len(list(tmp_path.glob("r/dev/*/summary.html"))) == 1
    with History.reading(history) as opened:
        assert len(opened.query()) == 1


@pytest.mark.parametrize("arguments", ["completion bash", "gate no-such --baseline x"])
def test_a_disk_that_is_full_is_one_line(arguments):
    done = shell('"$@" > /dev/full', *arguments.split())

    assert done.returncode == 3
    assert done.stderr == (
        "w2v: the output cannot be written: No space left on device; give it more room\n"
    )


def test_a_terminal_that_cannot_show_a_letter_is_no_traceback(tmp_path):
    done = subprocess.run(
        [*W2V, "report", "caf\u00e9-\u65e5"],
        capture_output=True,
        text=True,
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 3
    assert done.stderr.startswith("w2v: caf\\xe9-\\u65e5: no such run")


def test_a_checkpoint_whose_vocabulary_holds_escapes_does_not_steer_the_terminal(tmp_path):
    model = write_checkpoint(tmp_path / "model", seed=3)
    tokens = json.loads((model / "vocab.json").read_text())
    hostile = {f"\x1b[{i}m" if name.isalpha() else name: i for name, i in tokens.items()}
    (model / "vocab.json").write_text(json.dumps(hostile))
    audio = tmp_path / "a.wav"
    audio.write_bytes(encode(voiced(16_000, seed=1), container="WAV"))

    command = [*W2V, "transcribe", str(audio), "--model", str(model), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\\x1b[" in done.stdout


def test_colour_variables_change_nothing(inputs):
    command = [*W2V, "run", *inputs]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment(NO_COLOR="1", FORCE_COLOR="1"),
        check=False,
    )

    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["w2v_core", "w2v_core.cli"])
def test_the_command_runs_as_a_module(module, tmp_path):
    command = [sys.executable, "-m", module, "gate", "no-such-run", "--baseline", "none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 3
    assert "no-such-run: no such run" in done.stdout
