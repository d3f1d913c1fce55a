"""w2v: every error is one paragraph with the value, the limit and the remedy."""

import json

import pytest
from transformers import Wav2Vec2ForCTC

from tests.helpers import compilers
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.records import make_run, write_run
from tests.helpers.speech import write_chapter
from w2v_core.cli import main
from w2v_core.errors import ReportError


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
            ["--use_graphs", compilers.NONE, "the same without graphs"],
            id="graphs",
        ),
        pytest.param(["--reports-dir", "/dev/null"], 3, ["--reports-dir"], id="read-only"),
        pytest.param(["--history", "/dev/null"], 3, ["not a regular file"], id="no-history"),
        pytest.param(["--history", ""], 2, ["--history is empty"], id="empty-history"),
    ],
)
def test_a_wrong_value_is_named_with_its_limit(
    model, corpus, capsys, monkeypatch, arguments, code, parts
):
    compilers.use(monkeypatch, compilers.NONE)
    base = ["run", "--model", model, "--data_path", corpus]

    assert main([*base, *arguments]) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    for part in parts:
        assert part in printed


def test_an_unknown_dataset_is_named_with_the_nearest(model, capsys):
    assert main(["run", "--model", model, "--dataset", "test-clen"]) == 2
    assert "'test-clean'" in capsys.readouterr().err


def test_where_no_utterance_survives_the_reasons_are_told(tmp_path, corpus, capsys):
    model = write_checkpoint(tmp_path / "huge")
    module = Wav2Vec2ForCTC.from_pretrained(model)
    module.lm_head.weight.data.fill_(3e38)  # finite, and no logit is
    module.save_pretrained(model)

    assert main(["run", "--model", str(model), "--data_path", corpus]) == 1
    printed = capsys.readouterr()
    assert "invalid: accounting: 3 utterances failed" in printed.err
    assert "ms/10k tokens" in printed.out


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

    monkeypatch.setattr("w2v_core.bench.rounds.TimedPass.__call__", interrupt)
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
