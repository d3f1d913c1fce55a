"""w2v: every error is one paragraph with the value, the limit and the remedy."""

import json

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_chapter
from w2v_core.cli import main


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


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        pytest.param(["--buckets", "0"], 2, ["--buckets is 0", "at least 1"], id="no-bucket"),
        pytest.param(["--buckets", "9"], 2, ["--buckets is 9", "3 utterances"], id="buckets"),
        pytest.param(["--batch-size", "0"], 2, ["--batch-size is 0"], id="no-row"),
        pytest.param(["--repeat", "0"], 2, ["--repeat is 0"], id="no-round"),
        pytest.param(["--limit", "0"], 2, ["--limit is 0"], id="no-utterance"),
        pytest.param(["--limit", "4"], 2, ["4", "3"], id="limit-beyond"),
        pytest.param(["--dtype", "fp16"], 2, ["fp16", "group norm", "bfloat16"], id="fp16"),
        pytest.param(["--dtype", "bf61"], 2, ["did you mean 'bf16'"], id="dtype"),
        pytest.param(["--model", "canary-bas"], 2, ["did you mean 'canary-base'"], id="model"),
        pytest.param(["--dataset", "test-clen"], 2, ["'test-clean'"], id="dataset"),
        pytest.param(["--device", "gpu"], 2, ["device", "cuda"], id="device"),
        pytest.param(["--use_graphs", "--device", "cpu"], 3, ["--graphs off"], id="graphs"),
        pytest.param(["--reports-dir", "/dev/null"], 3, ["--reports-dir"], id="read-only"),
    ],
)
def test_a_wrong_value_is_named_with_its_limit(model, corpus, capsys, arguments, code, parts):
    base = ["run", "--model", model, "--data_path", corpus]

    assert main([*base, *arguments]) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    for part in parts:
        assert part in printed
