"""--profile: a trace that viewers open and a table of operators, of a pass that times nothing."""

import gzip
import json

import pytest
from torch.profiler import ProfilerActivity

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.engines import make_engine, make_utterance
from tests.helpers.speech import write_chapter
from w2v_core.bench import profile
from w2v_core.cli import main
from w2v_core.config import BatchPlan
from w2v_core.errors import ReportError

PLAN = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)


@pytest.fixture(scope="module")
def engine():
    engine = make_engine(plan=PLAN)
    engine.warm_up([4_000, 8_000])
    return engine


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A run that is profiled; the directory of its reports is still to be given."""
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")
    corpus = tmp_path_factory.mktemp("corpus")
    write_chapter(corpus, {f"7-1-000{i}": "A WORD" for i in range(3)})
    return ["run", "--model", str(model), "--data_path", str(corpus), "--profile", "--reports-dir"]


def utterances(count):
    return [make_utterance(f"u{i}", 4_000 + 1_000 * (i % 5)) for i in range(count)]


@pytest.fixture(scope="module")
def found(engine, tmp_path_factory):
    return profile.profile_pass(engine, utterances(3), tmp_path_factory.mktemp("run"))


def test_the_trace_is_gzipped_chrome_json_with_the_operators(found):
    events = json.loads(gzip.decompress(found.trace.read_bytes()))["traceEvents"]

    assert any("linear" in str(e.get("name")) or "addmm" in str(e.get("name")) for e in events)


def test_the_table_names_operators_and_their_share(found):
    table = found.top_ops.read_text()

    assert "aten::" in table
    assert "Self CPU %" in table


def test_a_large_set_is_sampled_over_its_whole_length(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "MAX_UTTERANCES", 4)
    seen = []
    monkeypatch.setattr(engine, "transcribe", lambda chosen, **options: seen.extend(chosen))

    found = profile.profile_pass(engine, utterances(9), tmp_path)

    assert [u.utterance_id for u in seen] == ["u0", "u3", "u6"]
    assert found.num_utterances == 3


def test_a_directory_that_cannot_be_written_is_a_report_error(engine, tmp_path):
    with pytest.raises(ReportError, match="use reports_dir"):
        profile.profile_pass(engine, utterances(1), tmp_path / "gone")


@pytest.mark.parametrize("device", ["cpu", "cuda", "hpu"])
def test_the_host_and_the_backends_device_are_traced(device):
    known = {name for name in ("CPU", device.upper()) if hasattr(ProfilerActivity, name)}

    assert {activity.name for activity in profile._activities(device)} == known


def test_a_device_that_the_profiler_does_not_know_is_traced_on_the_host():
    assert [activity.name for activity in profile._activities("abacus")] == ["CPU"]


def test_a_profile_lies_in_the_runs_directory_and_is_named_on_stderr(command, tmp_path, capsys):
    code = main([*command, str(tmp_path), "--json"])

    printed = capsys.readouterr()
    (directory,) = tmp_path.glob("dev/*")
    assert code == 0
    assert {"trace.json.gz", "top_ops.txt", "run.json"} <= {p.name for p in directory.iterdir()}
    assert str(directory / "trace.json.gz") in printed.err
    assert json.loads(printed.out)


def test_a_profile_that_fails_costs_neither_the_figures_nor_the_reports(
    command, tmp_path, capsys, monkeypatch
):
    def fail(*arguments):
        raise ReportError("the profile cannot be written")

    monkeypatch.setattr("w2v_core.bench.profile.profile_pass", fail)
    code = main([*command, str(tmp_path)])

    printed = capsys.readouterr()
    (directory,) = tmp_path.glob("dev/*")
    names = {p.name for p in directory.iterdir()}
    assert code == 3
    assert "tokens/ms" in printed.out
    assert printed.err.endswith("w2v: the profile cannot be written\n")
    assert "run.json" in names
    assert "INCOMPLETE" not in names
