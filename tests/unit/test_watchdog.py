"""No wait is for ever: a lost event ends its pass, its cell and its session, with what was kept."""

import time

import pytest

from tests.helpers.engines import make_checkpoint, make_utterance, make_utterances, warm_engine
from w2v_core.backends.base import DriverLogs
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.watchdog import wait
from w2v_core.bench import aftermath
from w2v_core.bench.rounds import time_rounds
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.errors import ConfigError, DeviceLostError, EngineError
from w2v_core.records.cell import Cell
from w2v_core.session import RunConfig, ValidationRun

LENGTHS = [400, 4_000, 7_999, 16_000, 720, 9_000, 12_345]


class _Passes:
    def __init__(self, *, at_s):
        self._at_s = time.perf_counter() + at_s

    def query(self):
        return time.perf_counter() >= self._at_s


def lose_event(monkeypatch, number):
    """Make the event of the ``number``-th download one that never passes."""
    download, downloads = CpuBackend.download, []

    def lossy(self, *arguments, **options):
        event = download(self, *arguments, **options)
        downloads.append(None)
        return _Passes(at_s=1e9) if len(downloads) == number else event

    monkeypatch.setattr(CpuBackend, "download", lossy)


@pytest.fixture(autouse=True)
def nothing_at_exit(monkeypatch):
    monkeypatch.setattr(aftermath.atexit, "register", lambda *arguments, **options: None)


@pytest.mark.parametrize(("at_s", "passes"), [(0.0, True), (0.02, True), (1e9, False)])
def test_wait_ends_by_the_event_or_by_the_deadline(at_s, passes):
    assert wait(_Passes(at_s=at_s), timeout_s=0.2) is passes


def test_a_timeout_of_no_time_is_refused():
    with pytest.raises(ConfigError, match="event_timeout is 0"):
        EngineConfig(event_timeout_s=0)


def test_a_lost_event_accounts_for_every_utterance_and_says_that_the_engine_stops(monkeypatch):
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances, event_timeout_s=1e-3)
    lose_event(monkeypatch, 2)

    with pytest.raises(EngineError, match="the engine cannot go on"):
        engine.transcribe(utterances)

    assert engine.lost is not None
    assert {f.utterance_id for f in engine.transcribe(utterances, record_failures=True).failures}


def test_an_engine_that_lost_its_device_touches_it_no_more(monkeypatch):
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances, event_timeout_s=1e-3)
    lose_event(monkeypatch, 1)
    for name in ("synchronize", "record"):
        monkeypatch.setattr(CpuBackend, name, lambda _self: pytest.fail("the device was asked"))
    engine.transcribe(utterances, record_failures=True)
    monkeypatch.setattr(CpuBackend, "upload", lambda *_a: pytest.fail("the device was used"))

    failures = engine.transcribe(utterances, record_failures=True).failures

    assert len(failures) == len(utterances)
    with pytest.raises(DeviceLostError):
        engine.logits(utterances)


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A run of a tiny checkpoint whose corpus is held in memory."""
    utterances = tuple(make_utterance(f"u{i}", n, reference="A") for i, n in enumerate(LENGTHS))
    corpus = Corpus(
        spec=parse_dataset("canary-speech"),
        utterances=utterances,
        exclusions=(),
        expected=tuple(u.utterance_id for u in utterances),
    )
    run = ValidationRun(config=RunConfig(device="cpu", reports_dir=tmp_path, event_timeout_s=1e-3))
    monkeypatch.setattr(ValidationRun, "checkpoint", lambda *_a: make_checkpoint())
    monkeypatch.setattr(ValidationRun, "corpus", lambda *_a: corpus)
    logs = tmp_path / "habana_logs"
    logs.mkdir()
    (logs / "synapse.log").write_text("x" * aftermath.MAX_BYTES + "the end")
    monkeypatch.setattr(
        CpuBackend, "driver_logs", lambda _s: DriverLogs(directory=logs, kernel_words=("habana",))
    )
    return run


def make_cell():
    plan = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)
    return Cell(
        model="tiny",
        model_name="tiny",
        dtype="float32",
        dataset="canary-speech",
        dataset_name="canary_speech",
        graphs=False,
        forward="exact",
        plan=plan,
    )


@pytest.mark.parametrize(
    ("number", "num_rounds"), [(4, 0), (8, 0), (12, 1)], ids=["scored-pass", "round-0", "round-1"]
)
def test_a_session_keeps_the_cell_that_lost_its_device_and_measures_no_other(
    session, monkeypatch, number, num_rounds
):
    """Two buckets are warmed up by the first two downloads; a pass has four batches."""
    lose_event(monkeypatch, number)

    record = session.measure(make_cell(), timer=time_rounds(2), rounds=2)

    assert not record.valid
    assert record.invalid_reasons[0].startswith("accounting: the device was lost: the event")
    assert session.records == [record]
    assert len(record.rounds_s) == num_rounds  # a pass without its transcripts is no round
    with pytest.raises(DeviceLostError, match="not measured"):
        session.measure(make_cell(), timer=time_rounds(1))


def test_what_is_left_of_the_device_is_kept_in_the_runs_directory(session, monkeypatch):
    lose_event(monkeypatch, 4)
    monkeypatch.setattr(aftermath, "kernel_lines", lambda _words: ["habanalabs: gone"])

    session.measure(make_cell(), timer=time_rounds(1))

    kept = session.directory / "device-lost"
    text = (kept / "device-lost.txt").read_text()
    assert "the event of slot" in text
    assert "watchdog.py" in text  # the stacks
    assert (kept / "synapse.log").read_text().endswith("the end")
    assert (kept / "synapse.log").stat().st_size == aftermath.MAX_BYTES
    assert (kept / "kernel.txt").read_text() == "habanalabs: gone"


def test_kernel_lines_that_cannot_be_read_are_said(monkeypatch):
    def absent(command, **_options):
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(aftermath.subprocess, "run", absent)

    assert aftermath.kernel_lines(("habanalabs",)) == "neither dmesg nor journalctl is installed"
