"""w2v: every error is one paragraph with the value, the limit and the remedy."""

import json
import threading

import numpy as np
import pytest
from transformers import Wav2Vec2ForCTC

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.records import make_run, write_run
from tests.helpers.speech import encode, write_chapter
from w2v_core.cli import main
from w2v_core.commands import run as run_command
from w2v_core.engine import ctc
from w2v_core.errors import ReportError
from w2v_core.records.history import History


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    write_chapter(root, {f"7-1-000{i}": "A WORD" for i in range(3)})
    return str(root)


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
    ("arguments", "code", "parts"),
    [
        pytest.param(["--buckets", "0"], 2, ["--buckets is 0", "at least 1"], id="no-bucket"),
        pytest.param(["--buckets", "9"], 2, ["--buckets is 9", "3 utterances"], id="buckets"),
        pytest.param(["--batch-size", "0"], 2, ["--batch-size is 0"], id="no-row"),
        pytest.param(["--repeat", "0"], 2, ["--repeat is 0"], id="no-round"),
        pytest.param(["--limit", "0"], 2, ["--limit is 0"], id="no-utterance"),
        pytest.param(["--limit", "4"], 2, ["4", "3"], id="limit-beyond"),
        pytest.param(["--release", " "], 2, ["--release is empty"], id="empty"),
        pytest.param(["--multi_thread", "2"], 2, ["--multi_thread is 2", "0 or 1"], id="threads"),
        pytest.param(["--graph_async", "-1"], 2, ["--graph_async is -1", "0 or 1"], id="async"),
        pytest.param(
            ["--use_graphs", "--graph_async", "0"], 2, ["--multi_thread 0"], id="synchronous-graphs"
        ),
        pytest.param(["--large"], 2, ["--large and --model", "give one"], id="two-models"),
        pytest.param(
            ["--dataset", "canary-speech"], 2, ["--dataset and --data_path"], id="two-datasets"
        ),
        pytest.param(["--dev_clean_ds"], 2, ["--data_path and --dev_clean_ds"], id="seed-datasets"),
        pytest.param(["--autocast"], 2, ["--autocast", "bf16"], id="autocast"),
        pytest.param(["--execution", "fast"], 2, ["eager, lazy"], id="execution"),
        pytest.param(["--release", "x", "--forward", "exat"], 2, ["'exact'"], id="forward"),
        pytest.param(["--dtype", "fp16"], 2, ["fp16", "group norm", "bfloat16"], id="fp16"),
        pytest.param(["--dtype", "bf61"], 2, ["did you mean 'bf16'"], id="dtype"),
        pytest.param(["--model", "canary-bas"], 2, ["did you mean 'canary-base'"], id="model"),
        pytest.param(["--device", "gpu"], 2, ["device", "cuda"], id="device"),
        pytest.param(
            ["--use_graphs", "--device", "cpu"],
            3,
            ["no graph capture", "--use_graphs"],
            id="graphs",
        ),
        pytest.param(["--reports-dir", "/dev/null"], 3, ["--reports-dir"], id="read-only"),
        pytest.param(["--history", "/dev/null"], 3, ["not a regular file"], id="no-history"),
        pytest.param(["--history", ""], 2, ["--history is empty"], id="empty-history"),
    ],
)
def test_a_wrong_value_is_named_with_its_limit(model, corpus, capsys, arguments, code, parts):
    base = ["run", "--model", model, "--data_path", corpus]

    assert main([*base, *arguments]) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    for part in parts:
        assert part in printed


def test_an_unknown_dataset_is_named_with_the_nearest(model, capsys):
    assert main(["run", "--model", model, "--dataset", "test-clen"]) == 2
    assert "'test-clean'" in capsys.readouterr().err


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


def test_where_no_utterance_survives_the_reasons_are_told(tmp_path, corpus, capsys):
    model = write_checkpoint(tmp_path / "huge")
    module = Wav2Vec2ForCTC.from_pretrained(model)
    module.lm_head.weight.data.fill_(3e38)  # finite, and no logit is
    module.save_pretrained(model)

    assert main(["run", "--model", str(model), "--data_path", corpus]) == 1
    printed = capsys.readouterr()
    assert "invalid: accounting: 3 utterances failed" in printed.err
    assert "ms/10k tokens" in printed.out


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


def test_a_wrong_value_leaves_no_directory_behind(model, corpus, tmp_path):
    reports = tmp_path / "reports"
    main(["run", "--model", "canary-bas", "--reports-dir", str(reports)])

    assert not reports.exists()


def test_debug_shows_where_an_error_comes_from(corpus, capsys):
    arguments = ["run", "--model", "canary-bas", "--data_path", corpus]

    main(arguments)
    assert "Traceback" not in capsys.readouterr().err
    main([*arguments, "--debug"])
    assert "Traceback" in capsys.readouterr().err


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


def test_reports_that_cannot_be_written_do_not_cost_the_figures(
    model, corpus, tmp_path, capsys, monkeypatch
):
    def fail(*arguments, **options):
        raise ReportError("the disk is full")

    monkeypatch.setattr("w2v_core.session.write_run", fail)
    base = ["run", "--model", model, "--data_path", corpus, "--reports-dir", str(tmp_path)]

    assert main(base) == 3
    printed = capsys.readouterr()
    assert "tokens/ms" in printed.out
    assert printed.err == "w2v: the disk is full\n"


def test_an_interrupt_is_one_line_and_leaves_the_directory_marked(
    model, corpus, tmp_path, capsys, monkeypatch
):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("w2v_core.bench.measure.TimedPass.__call__", interrupt)
    code = main(["run", "--model", model, "--data_path", corpus, "--reports-dir", str(tmp_path)])

    printed = capsys.readouterr()
    (mark,) = tmp_path.glob("dev/*/*")
    assert code == 130
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert str(mark.parent) in printed.err
    assert mark.name == "INCOMPLETE"


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OutOfMemoryError("CUDA out of memory.\n lines"), id="device"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), id="host"),
        pytest.param(MemoryError(), id="python"),
    ],
)
def test_out_of_memory_is_one_paragraph_with_the_remedy(model, corpus, capsys, monkeypatch, error):
    def run_out(self, *arguments, **options):
        raise error

    monkeypatch.setattr("w2v_core.engine.engine.Engine.warm_up", run_out)

    assert main(["run", "--model", model, "--data_path", corpus]) == 3
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "out of memory; use a smaller --batch-size" in printed


def test_another_error_of_the_runtime_is_not_hidden(model, corpus, monkeypatch):
    def fail(self, *arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("w2v_core.engine.engine.Engine.warm_up", fail)

    with pytest.raises(RuntimeError, match="a bug"):
        main(["run", "--model", model, "--data_path", corpus])


def test_many_bad_files_are_one_paragraph(model, tmp_path, capsys):
    write_chapter(tmp_path, {f"7-1-000{i}": "A WORD" for i in range(3)})
    for path in tmp_path.rglob("*.flac"):
        path.write_bytes(b"not audio")

    assert main(["run", "--model", model, "--data_path", str(tmp_path)]) == 3
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "\\n" not in printed
    assert "3 files cannot be used" in printed


def test_report_tells_machines_where_the_page_is(tmp_path, capsys):
    run = write_run(tmp_path / "run", make_run(0))

    assert main(["report", str(run), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    page = run / "summary.html"
    assert printed == {
        "page": str(page),
        "size_bytes": page.stat().st_size,
        "cells": 3,
        "valid": 3,
    }
