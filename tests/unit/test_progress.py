"""Progress: shown on a terminal, silent elsewhere, and never inside a timed region."""

import contextlib
import io

import pytest

from tests.helpers.engines import make_engine, make_utterance
from w2v_core import progress
from w2v_core.bench.rounds import TimedPass, time_rounds
from w2v_core.config import BatchPlan

LENGTHS = [4_000, 8_000, 5_000]
PLAN = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Watcher:
    """A Progress that keeps what it was told."""

    def __init__(self):
        self.stages = {}
        self.totals = {}

    @contextlib.contextmanager
    def __call__(self, stage, *, total, unit):
        self.totals[stage] = total
        told = self.stages.setdefault(stage, [])
        yield told.append


def show(monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    with progress.bars("timed rounds", total=12.0, unit="audio s") as advance:
        advance(6.0)
        advance(6.0)
    return stream.getvalue()


def test_a_terminal_sees_stage_amount_rate_and_time_left(monkeypatch):
    shown = show(monkeypatch, Terminal())

    for part in ("timed rounds", "of 12 audio s", "audio s/s", "left"):
        assert part in shown


def test_nothing_is_shown_where_stderr_is_no_terminal(monkeypatch):
    assert show(monkeypatch, io.StringIO()) == ""


def test_nothing_is_coloured(monkeypatch):
    assert "\x1b[3" not in show(monkeypatch, Terminal())


def test_the_bar_is_wiped_when_the_stage_is_over(monkeypatch):
    assert show(monkeypatch, Terminal()).rstrip(" ").endswith("\r")


def utterances():
    return [make_utterance(f"u{i}", n) for i, n in enumerate(LENGTHS)]


def test_warm_up_tells_of_every_bucket():
    watcher = Watcher()
    engine = make_engine(plan=PLAN)

    engine.warm_up(LENGTHS, progress=watcher)

    assert watcher.totals["warm-up"] == len(engine.buckets) == 2
    assert watcher.stages["warm-up"] == [1, 1]


def test_a_watched_pass_tells_the_audio_of_every_utterance():
    told = []
    engine = make_engine(plan=PLAN)
    engine.warm_up(LENGTHS)

    engine.transcribe(utterances(), advance=told.append)

    assert sum(told) == pytest.approx(sum(LENGTHS) / 16_000)


def test_a_round_is_counted_after_its_clock_has_stopped(monkeypatch):
    engine = make_engine(plan=PLAN)
    engine.warm_up(LENGTHS)
    events = []
    transcribe = engine.transcribe

    def transcribe_and_note(*arguments, **options):
        assert "advance" not in options
        events.append("start")
        found = transcribe(*arguments, **options)
        events.append("stop")
        return found

    monkeypatch.setattr(engine, "transcribe", transcribe_and_note)
    time_rounds(2)(TimedPass(engine, utterances(), lambda audio_s: events.append("shown")))

    assert events == ["start", "stop", "shown"] * 2
