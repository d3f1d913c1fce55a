"""--profile: a trace that viewers open and a table of operators, of a pass that times nothing."""

import gzip
import json

import pytest

from tests.helpers.engines import make_engine, make_utterance
from w2v_core.bench import profile
from w2v_core.config import BatchPlan
from w2v_core.errors import ReportError

PLAN = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)


@pytest.fixture(scope="module")
def engine():
    engine = make_engine(plan=PLAN)
    engine.warm_up([4_000, 8_000])
    return engine


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
    with pytest.raises(ReportError, match="--reports-dir"):
        profile.profile_pass(engine, utterances(1), tmp_path / "gone")


@pytest.mark.parametrize("device", ["cpu", "cuda", "hpu"])
def test_the_host_and_the_backends_device_are_traced(device):
    names = {activity.name for activity in profile._activities(device)}

    assert names == {"CPU", device.upper()}


def test_a_device_that_the_profiler_does_not_know_is_traced_on_the_host():
    assert [activity.name for activity in profile._activities("abacus")] == ["CPU"]
