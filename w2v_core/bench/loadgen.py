"""Load as MLPerf defines it: LoadGen issues the queries, the online engine answers them.

A LoadGen scenario of this program is not an MLPerf result: no division, no audit, no review.
"""

from __future__ import annotations

import json
import re
import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from w2v_core.engine.engine import Engine
from w2v_core.engine.online import Online
from w2v_core.errors import ConfigError, EngineError, ReportError
from w2v_core.types import Hypothesis, Utterance

DISCLAIMER = "LoadGen scenario, not an MLPerf result"
EARLY_STOPPING_QUERIES = 1000
"""LoadGen says nothing of a 99th percentile before about 660 queries (its early stopping)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What LoadGen is asked for."""

    scenario: str
    mode: str
    seconds: float
    """Least duration of a performance run."""
    p99_s: float
    """server: bound of the 99th percentile of latency."""
    qps: float
    """offline: samples a second expected; server: queries a second, or where the search begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What came of it."""

    summary: Mapping[str, str]
    """Every line of LoadGen's own ``mlperf_log_summary.txt`` that has a value."""
    latency_s: Mapping[str, float]
    """p50, p90 and p99 by the engine's own clock, from a query's issue to its transcript, each of
    the rank that LoadGen takes; empty of a search, which is many runs."""
    issue_delay_s: Mapping[str, float]
    """server: p50, p90 and p99 of how late LoadGen itself issued, which its latencies contain."""
    peak_qps: float | None
    """The highest rate that a search found to meet the bound; None where there is none."""
    num_queries: int
    failures: tuple[str, ...]
    """Ids of utterances without a transcript, and why; LoadGen was answered with nothing."""
    transcripts: Mapping[str, str]
    """By id, as LoadGen's accuracy log has them; empty in other modes."""
    errors: tuple[str, ...]
    """What LoadGen's detailed log calls errors."""
    is_valid: bool
    """Whether LoadGen calls the run valid, without errors, and every query has a transcript."""


def run_load(
    engine: Engine, utterances: Sequence[Utterance], load: Load, *, directory: Path
) -> LoadResult:
    """Let LoadGen query ``engine`` until it has what it wants; blocks, in the engine's own thread.

    Args:
        engine: Warm for these utterances.
        utterances: The query sample library; a query is one of them.
        load: What is asked for.
        directory: Where LoadGen's logs go and stay.

    Raises:
        ConfigError: LoadGen is not installed.
        ReportError: the directory cannot be written.
    """
    lg = _loadgen()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"{directory} cannot be written: {error.strerror}") from error
    online = Online(engine, max_wait_s=0.0 if load.scenario == "single-stream" else 0.005)
    system = _System(lg, online, utterances)
    with ThreadPoolExecutor(1, thread_name_prefix="loadgen") as pool:
        done = pool.submit(_start, lg, system, load, directory)
        done.add_done_callback(lambda _: online.close())
        online.serve()
        done.result()
    return _result(system, load, directory)


def _result(system: _System, load: Load, directory: Path) -> LoadResult:
    summary = read_summary(directory / "mlperf_log_summary.txt")
    errors = _errors(directory / "mlperf_log_detail.txt")
    answered, failures = len(system.latency_s), tuple(system.failures)
    is_accuracy, is_search = load.mode == "accuracy", load.mode == "find-peak"
    verdict = summary.get("Result is", "VALID" if is_accuracy else "none")
    is_valid = answered > 0 and not failures and not errors and verdict == "VALID"
    return LoadResult(
        summary=summary,
        latency_s={} if is_search else ranked(system.latency_s),
        issue_delay_s=_issue_delay_s(directory / "mlperf_log_trace.json"),
        peak_qps=float(summary["target_qps"]) if is_search and is_valid else None,
        num_queries=answered + len(failures),
        failures=failures,
        transcripts=_transcripts(directory, system.utterances) if is_accuracy else {},
        errors=errors,
        is_valid=is_valid,
    )


class _System:
    """LoadGen's system under test and its sample library."""

    def __init__(self, lg: Any, online: Online, utterances: Sequence[Utterance]) -> None:  # noqa: ANN401
        self.latency_s: list[float] = []
        self.failures: list[str] = []
        self.utterances = utterances
        self._lg, self._online, self._lock = lg, online, threading.Lock()

    def issue(self, samples: Sequence[Any]) -> None:
        """Submit what LoadGen issues; blocks while the engine is full."""
        issued_s = time.perf_counter()
        for sample in samples:
            late_s = time.perf_counter() - issued_s  # an offline query is all samples at once
            try:
                future = self._online.submit(self.utterances[sample.index])
            except EngineError as error:
                self._complete(sample.id, b"", failure=str(error))
                continue
            future.add_done_callback(partial(self._done, sample.id, late_s))

    def _done(self, query: int, late_s: float, future: Future[Hypothesis]) -> None:
        error = future.exception()
        if error is not None:
            self._complete(query, b"", failure=str(error))
            return
        answer = future.result()
        self._complete(query, answer.text.encode(), latency_s=late_s + answer.latency_s)

    def _complete(
        self, query: int, text: bytes, *, failure: str = "", latency_s: float = 0.0
    ) -> None:
        with self._lock:
            if failure:
                self.failures.append(failure)
            else:
                self.latency_s.append(latency_s)
        data = array("B", text)
        address, size = data.buffer_info()
        self._lg.QuerySamplesComplete([self._lg.QuerySampleResponse(query, address, size)])


def _loadgen() -> Any:  # noqa: ANN401 - an extension module without types
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise ConfigError(
            "LoadGen is not installed; install it with: pip install 'w2v-core[mlperf]'"
        ) from error
    return mlperf_loadgen


def _start(lg: Any, system: _System, load: Load, directory: Path) -> None:  # noqa: ANN401
    output = lg.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = str(directory), False
    log = lg.LogSettings()
    is_server_run = load.scenario == "server" and load.mode == "performance"
    log.log_output, log.enable_trace = output, is_server_run  # it alone tells of late issues
    count = len(system.utterances)
    sut = lg.ConstructSUT(system.issue, lambda: None)
    qsl = lg.ConstructQSL(count, count, lambda _: None, lambda _: None)
    try:
        no_audit = str(directory / "audit.config")  # LoadGen reads one from the working directory
        lg.StartTestWithLogSettings(sut, qsl, _settings(lg, load), log, no_audit)
    finally:
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)


def _settings(lg: Any, load: Load) -> Any:  # noqa: ANN401
    settings = lg.TestSettings()
    scenarios = lg.TestScenario
    settings.scenario = {
        "offline": scenarios.Offline,
        "single-stream": scenarios.SingleStream,
        "server": scenarios.Server,
    }[load.scenario]
    settings.mode = {
        "performance": lg.TestMode.PerformanceOnly,
        "accuracy": lg.TestMode.AccuracyOnly,
        "find-peak": lg.TestMode.FindPeakPerformance,
    }[load.mode]
    if load.scenario == "server":
        settings.min_query_count = EARLY_STOPPING_QUERIES
    settings.min_duration_ms = int(load.seconds * 1000)
    settings.offline_expected_qps = load.qps
    settings.server_target_qps = load.qps
    settings.server_target_latency_ns = int(load.p99_s * 1e9)
    settings.server_target_latency_percentile = 0.99
    return settings


def ranked(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p90 and p99, each the value whose rank from 0 is the whole part of n p.

    Source: ProcessLatencies in LoadGen's results.cc.
    """
    ordered = sorted(seconds) or [0.0]
    return {f"p{p}": ordered[len(ordered) * p // 100] for p in (50, 90, 99)}


def read_summary(path: Path) -> dict[str, str]:
    """Return the lines ``name : value`` of LoadGen's summary."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and value.strip()}


def _errors(path: Path) -> tuple[str, ...]:
    """Return the messages that LoadGen marks as errors, a JSON a line behind a prefix."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    said = (json.loads(line.partition(" ")[2]) for line in lines if '"is_error": true' in line)
    return tuple(str(line["value"]) for line in said)


def _issue_delay_s(path: Path) -> dict[str, float]:
    """Read how late queries were issued out of LoadGen's trace, which is no valid JSON."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = [int(ns) / 1e9 for ns in re.findall(r'"issue_start_ns":(\d+)', text)]
    return ranked(found) if found else {}


def _transcripts(directory: Path, utterances: Sequence[Utterance]) -> dict[str, str]:
    """Read what LoadGen logged as answers, hexadecimal."""
    rows = json.loads((directory / "mlperf_log_accuracy.json").read_text(encoding="utf-8"))
    return {
        utterances[row["qsl_idx"]].utterance_id: bytes.fromhex(row["data"]).decode() for row in rows
    }
