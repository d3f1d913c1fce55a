"""Load as MLPerf defines it: LoadGen issues the queries, the online engine answers them.

A LoadGen scenario of this program is not an MLPerf result: no division, no audit, no review.
"""

from __future__ import annotations

import json
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
    the rank that LoadGen takes."""
    num_queries: int
    failures: tuple[str, ...]
    """Ids of utterances without a transcript, and why; LoadGen was answered with nothing."""
    transcripts: Mapping[str, str]
    """By id, as LoadGen's accuracy log has them; empty in other modes."""

    @property
    def is_valid(self) -> bool:
        """Whether LoadGen calls the run valid and every query has a transcript."""
        return not self.failures and self.summary.get("Result is", "VALID") == "VALID"


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
    return LoadResult(
        summary=read_summary(directory / "mlperf_log_summary.txt"),
        latency_s=ranked(system.latency_s),
        num_queries=len(system.latency_s) + len(system.failures),
        failures=tuple(system.failures),
        transcripts=_transcripts(directory, utterances) if load.mode == "accuracy" else {},
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
    log.log_output, log.enable_trace = output, False
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


def _transcripts(directory: Path, utterances: Sequence[Utterance]) -> dict[str, str]:
    """Read what LoadGen logged as answers, hexadecimal."""
    rows = json.loads((directory / "mlperf_log_accuracy.json").read_text(encoding="utf-8"))
    return {
        utterances[row["qsl_idx"]].utterance_id: bytes.fromhex(row["data"]).decode() for row in rows
    }
