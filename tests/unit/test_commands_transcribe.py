"""w2v transcribe: a line a file, in their order; what cannot be used is named, the rest goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import encode, voiced
from w2v_core.backends.cpu import CpuBackend
from w2v_core.cli import main
from w2v_core.commands import transcribe as command
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.data.audio import decode
from w2v_core.engine.engine import Engine
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.types import Utterance


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("model") / "tiny", seed=3))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    names = []
    for seed, samples in enumerate((9_000, 4_000, 16_000)):
        path = folder / f"{seed}.wav"
        path.write_bytes(encode(voiced(samples, seed=seed), container="WAV"))
        names.append(str(path))
    return names


def run(*arguments):
    return main(["transcribe", *arguments])


def test_each_file_gets_its_line_in_the_order_given(model, files, capsys):
    code = run(*files[::-1], "--model", model, "--device", "cpu")

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split("\t")[0] for line in lines] == files[::-1]


def test_the_transcript_is_the_engines(model, files, capsys):
    run(files[0], "--model", model, "--device", "cpu")

    checkpoint = load_checkpoint(parse_model(model))
    alone = Utterance(utterance_id="x", waveform=decode(files[0], name="x"))
    engine = Engine(
        checkpoint, CpuBackend(), EngineConfig(plan=BatchPlan(num_buckets=1, batch_size=1))
    )
    engine.warm_up([alone.num_samples])
    (expected,) = engine.transcribe([alone]).hypotheses
    assert expected.text
    assert capsys.readouterr().out == f"{files[0]}\t{expected.text}\n"


def test_json_carries_the_measured_audio(model, files, capsys):
    run(*files, "--model", model, "--device", "cpu", "--json")

    rows = json.loads(capsys.readouterr().out)
    assert [r["id"] for r in rows] == files
    assert [r["audio_s"] for r in rows] == [9_000 / 16_000, 0.25, 1.0]
    assert all(r["latency_s"] > 0 for r in rows)


def test_a_file_that_cannot_be_used_is_named_and_the_others_are_transcribed(
    model, files, tmp_path, capsys
):
    bad = tmp_path / "bad.flac"
    bad.write_bytes(b"not audio")

    code = run(str(bad), files[1], str(tmp_path / "gone.wav"), "--model", model)

    printed = capsys.readouterr()
    assert code == 3
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == [files[1]]
    _, *problems = printed.err.splitlines()  # the first names the model
    assert [("bad.flac" in e, "gone.wav" in e) for e in problems] == [
        (True, False),
        (False, True),
    ]


def test_what_is_odd_about_a_file_is_said_on_stderr_and_in_the_json(model, files, tmp_path, capsys):
    """A silent file has an empty transcript, which looks like one of speech that nobody heard."""
    silent = tmp_path / "silent.wav"
    silent.write_bytes(encode(np.zeros(16_000, np.float32), container="WAV"))

    code = run(str(silent), files[1], "--model", model, "--json")

    printed = capsys.readouterr()
    (note,) = json.loads(printed.out)[0]["notes"]
    assert code == 0
    assert note.startswith("silent: ")
    assert f"w2v: warning: {silent}: {note}" in printed.err.splitlines()
    assert json.loads(printed.out)[1]["notes"] == []


def test_without_a_usable_file_the_json_is_an_empty_list(model, tmp_path, capsys):
    code = run(str(tmp_path / "gone.wav"), "--model", model, "--json")

    assert code == 3
    assert json.loads(capsys.readouterr().out) == []


def test_a_hostile_file_name_does_not_steer_the_terminal(model, files, tmp_path, capsys):
    path = tmp_path / "a\tb\x1b[31m\n.wav"
    path.write_bytes((tmp_path / files[1]).read_bytes())

    run(str(path), "--model", model, "--device", "cpu")

    out = capsys.readouterr().out
    assert out.count("\n") == out.count("\t") == 1
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        pytest.param(["--model", "canary-bas"], 2, "did you mean 'canary-base'", id="model"),
        pytest.param(["--dtype", "fp16"], 2, "bfloat16", id="dtype"),
        pytest.param(["--device", "gpu"], 2, "unknown device", id="device"),
        pytest.param(["--device", "hpu"], 3, "Habana", id="device-missing"),
        pytest.param(["--batch-size", "0"], 2, "--batch-size is 0", id="batch-size"),
    ],
)
def test_a_wrong_value_is_one_paragraph(model, files, capsys, arguments, code, part):
    base = [] if "--model" in arguments else ["--model", model]

    assert run(files[0], *base, *arguments) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert part in printed


def test_a_file_given_twice_is_refused(model, files, capsys):
    assert run(files[0], files[0], "--model", model) == 2
    assert "given twice" in capsys.readouterr().err


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        run("--help")

    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(flag in text for flag in ("FILE", "--model", "--device", "--dtype", "--json"))


def test_folder_gives_its_audio_in_name_order_at_every_depth(model, files, tmp_path, capsys):
    data = Path(files[1]).read_bytes()
    for name in ("b/2.WAV", "b/1.wav", "a/deep/3.wav", "c.txt", ".hidden/4.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)

    assert run(str(tmp_path / "in"), files[0], "--model", model) == 0

    named = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    below = [str(tmp_path / "in" / n) for n in ("a/deep/3.wav", "b/1.wav", "b/2.WAV")]
    assert named == [*below, files[0]]


def test_audio_of_other_kinds_in_a_folder_is_read_or_named_and_never_missed(
    model, tmp_path, capsys
):
    """Opus by any ending; what is not read is a problem, and the rest goes on."""
    opus = encode(voiced(9_000), container="OGG", subtype="OPUS")
    for name in ("a.opus", "b.OGA"):
        (tmp_path / name).write_bytes(opus)
    for name in ("c.aiff", "d.AU"):
        data = encode(voiced(9_000), container=name[2:].upper(), subtype="PCM_16")
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notes.txt").write_text("no audio")

    code = run(str(tmp_path), "--model", model, "--device", "cpu")

    printed = capsys.readouterr()
    assert code == 3
    assert [line.split("\t")[0][-6:] for line in printed.out.splitlines()] == ["a.opus", "/b.OGA"]
    assert "c.aiff: the file is AIFF" in printed.err
    assert "d.AU: the file is AU" in printed.err
    assert "notes.txt" not in printed.err


def test_folder_without_audio_and_a_link_to_nowhere_are_named(model, files, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.wav").symlink_to("/mnt/gone/x.wav")

    assert run(str(tmp_path / "empty"), str(tmp_path / "x.wav"), files[1], "--model", model) == 3

    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert "empty: the folder holds no .flac" in printed.err
    assert "link to /mnt/gone/x.wav" in printed.err


def test_file_in_a_folder_that_is_given_too_is_refused(model, files, capsys):
    assert run(str(Path(files[0]).parent), files[0], "--model", model) == 2
    assert "given twice" in capsys.readouterr().err


def test_long_audio_is_cut_and_its_transcript_joined(model, tmp_path, capsys, monkeypatch):
    """As if each piece had been a file of its own."""
    monkeypatch.setattr(command, "MAX_PIECE_S", 6)
    speech = voiced(7 * 8_000, rate_hz=8_000)
    speech[28_000:32_000] = 0
    path = tmp_path / "long.wav"
    path.write_bytes(encode(speech, rate_hz=8_000, container="WAV", subtype="FLOAT"))

    assert run(str(path), "--model", model, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)

    (cut_s,) = row["cuts_s"]
    assert 3.5 < cut_s < 4
    assert row["audio_s"] == 7
    whole = decode(str(path), name="x")
    halves = np.split(whole, [round(cut_s * 16_000)])
    for number, half in enumerate(halves):
        (tmp_path / f"{number}.wav").write_bytes(encode(half, container="WAV", subtype="FLOAT"))
    run(str(tmp_path / "0.wav"), str(tmp_path / "1.wav"), "--model", model, "--json")
    texts = [r["text"] for r in json.loads(capsys.readouterr().out)]
    assert row["text"] == " ".join(texts)


def test_model_is_told_on_stderr(model, files, capsys):
    run(files[1], "--model", model)

    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"w2v: model {Path(model).name} ({Path(model).resolve()})"


def test_canary_warns_that_it_knows_synthetic_english_only(files, capsys):
    run(files[1], "--model", "canary-base")

    assert "synthetic English only" in capsys.readouterr().err


@pytest.mark.parametrize("is_here", [True, False])
def test_default_is_base_where_it_is_cached(monkeypatch, is_here):
    monkeypatch.setattr(
        "w2v_core.model.checkpoint_hub.why_not_loadable",
        lambda spec: None if is_here else "not cached",
    )

    assert command._model(None).name == ("base" if is_here else "canary-base")


def test_forward_can_be_chosen(model, files, capsys):
    """Errors of exact.py tell to use the stock forward."""
    assert run(files[1], "--model", model, "--forward", "stock") == 0
    assert run(files[1], "--model", model, "--forward", "fast") == 2
