"""w2v run: what it measures, prints and writes."""

import json
import threading

import numpy as np
import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import encode, write_chapter
from w2v_core.cli import main
from w2v_core.commands import run as run_command
from w2v_core.engine import ctc
from w2v_core.records.history import History


def test_run_prints_the_figures_of_the_vendors_script(model, corpus, capsys):
    code = main(["run", "--model", model, "--data_path", corpus, "--repeat", "2"])

    printed = capsys.readouterr().out
    assert code == 0
    for figure in ("ms/10k tokens", "tokens/ms", "ms/sample", "real-time factor", "WER"):
        assert figure in printed


def test_run_prints_the_record_as_json(model, corpus, capsys):
    main(["run", "--model", model, "--data_path", corpus, "--json"])

    record = json.loads(capsys.readouterr().out)["record"]
    assert record["num_utterances"] == 3
    assert record["rtfx"] == pytest.approx(record["audio_s"] / record["rounds_s"][0])


def test_run_writes_reports_where_asked(model, corpus, tmp_path):
    reports = tmp_path / "reports"
    main(["run", "--model", model, "--data_path", corpus, "--reports-dir", str(reports)])

    assert len(list(reports.glob("dev/*/summary.csv"))) == 1


def test_run_appends_to_the_history_where_asked(model, corpus, tmp_path):
    history = tmp_path / "h.sqlite"
    for _ in range(2):
        main(["run", "--model", model, "--data_path", corpus, "--history", str(history)])

    with History.reading(history) as opened:
        assert len(opened.records()) == 2


@pytest.mark.parametrize(
    "given", [["--shard", "1/99"], ["--history", "/dev/null/h.sqlite"], ["--data_path", "{torn}"]]
)
def test_a_run_of_what_cannot_be_used_leaves_no_empty_directory(
    given, model, corpus, tmp_path, capsys
):
    """One that says INCOMPLETE would be a night that was measured and left out."""
    reports, torn = tmp_path / "reports", tmp_path / "torn"
    write_chapter(torn, {"7-1-0000": "A WORD"})
    next(torn.rglob("*.flac")).write_bytes(b"fLaC")
    sets = [] if "--data_path" in given else ["--data_path", corpus]
    options = [word.format(torn=torn) for word in given]
    code = main(["run", "--model", model, *sets, *options, "--reports-dir", str(reports)])

    assert code in (2, 3)
    assert capsys.readouterr().err.startswith("w2v: ")
    assert list(reports.glob("*/*")) == []


def test_every_flag_of_the_vendors_script_is_taken(model, corpus, capsys):
    """All of them at once, with the vendor's defaults where they have values."""
    figures = ["--dtype", "bf16", "--buckets", "2", "--perf", "-a", "--repeat", "1"]
    others = ["--limit", "2", "--debug", "--multi_thread", "1", "--graph_async", "1"]
    code = main(["run", "--model", model, "--data_path", corpus, *figures, *others])

    assert code == 0
    assert "2 utterances" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        pytest.param([], {"tokens/ms", "WER"}, id="neither"),
        pytest.param(["--perf"], {"tokens/ms"}, id="perf"),
        pytest.param(["--accuracy"], {"WER"}, id="accuracy"),
        pytest.param(["--perf", "--accuracy"], {"tokens/ms", "WER"}, id="both"),
    ],
)
def test_perf_and_accuracy_choose_what_is_printed(model, corpus, capsys, flags, shown):
    main(["run", "--model", model, "--data_path", corpus, *flags])

    printed = capsys.readouterr().out
    assert {part for part in ("tokens/ms", "WER") if part in printed} == shown


def test_what_is_odd_about_the_checkpoint_is_printed_and_in_the_record(tmp_path, corpus, capsys):
    model = write_checkpoint(tmp_path / "odd")
    (model / "language_model").mkdir()

    main(["run", "--model", str(model), "--data_path", corpus, "--json"])

    printed = capsys.readouterr()
    (note,) = [n for n in json.loads(printed.out)["record"]["notes"] if "language model" in n]
    assert f"note: {note}" in printed.err


def test_what_is_odd_about_the_audio_is_printed_and_in_the_record(model, tmp_path, capsys):
    folder = write_chapter(tmp_path / "set", {"7-1-0000": "A WORD", "7-1-0001": "A WORD"})
    (folder / "7-1-0000.flac").write_bytes(encode(np.zeros(1600, np.float32)))
    arguments = ["run", "--model", model, "--data_path", str(tmp_path / "set")]

    main(arguments)
    assert "note: silent: 1 utterance (7-1-0000)" in capsys.readouterr().err
    main([*arguments, "--json"])
    (note,) = json.loads(capsys.readouterr().out)["record"]["notes"]
    assert note.startswith("silent: 1 utterance")


def test_the_figures_are_those_of_the_record(model, corpus, capsys):
    main(["run", "--model", model, "--data_path", corpus, "--repeat", "2", "--json"])
    record = run_command.CellRecord(
        **{
            **json.loads(capsys.readouterr().out)["record"],
            "rounds_s": (2.0, 4.0),
            "audio_s": 30.0,
            "num_utterances": 3,
            "rtfx": 10.0,
        }
    )

    values = {name: float(value) for name, value, _ in run_command.figures(record)}
    assert values == {
        "average latency": pytest.approx(62.5),  # 6000 ms over 96 times 10k samples
        "throughput": 160.0,  # 960,000 samples in 6000 ms
        "end-to-end time per sample": 1000.0,
        "total end-to-end time": 6.0,
        "median round": 3.0,
        "real-time factor (RTFx)": 10.0,
    }


def test_without_multi_thread_everything_is_done_in_one_thread(model, corpus, capsys, monkeypatch):
    threads = set()
    decode = ctc.decode_batch

    def decode_and_note(*arguments):
        threads.add(threading.current_thread())
        return decode(*arguments)

    monkeypatch.setattr(ctc, "decode_batch", decode_and_note)
    main(["run", "--model", model, "--data_path", corpus, "--multi_thread", "0", "--json"])

    assert threads == {threading.current_thread()}
    record = json.loads(capsys.readouterr().out)["record"]
    assert record["batch_plan"].endswith("-serial"), "a gate must not compare it with others"


@pytest.mark.parametrize("flags", [{"profile": True}, {"debug": True}])
def test_profile_and_debug_reach_the_hpu_environment(monkeypatch, corpus, flags):
    seen = {}
    monkeypatch.setattr(
        "w2v_core.commands.options.prepare_environment", lambda **options: seen.update(options)
    )

    base = ["run", "--model", "canary-base", "--data_path", corpus, "--device", "hpu"]
    main([*base, "--execution", "eager", *(f"--{flag}" for flag in flags)])
    unset = {"profile": False, "debug": False, "family": None, "recipe_cache": None}
    expected = {"execution": "eager", **unset, **flags}
    assert seen == expected
