"""A validation run: cells in, judged records out. Used by the pytest plugin and by ``w2v run``."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v_core.config import DeviceChoice, EngineConfig, Share
from w2v_core.errors import DeviceLostError
from w2v_core.progress import Progress, silent
from w2v_core.records.record import CellRecord, Shard
from w2v_core.records.store import DIRECTORY_NOTE, Session, new_run_id, reserve
from w2v_core.report.files import write_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from w2v_core.backends.base import Backend
    from w2v_core.bench.cell_record import Provenance
    from w2v_core.bench.profile import Profile
    from w2v_core.bench.rounds import OnScored, RoundTimer
    from w2v_core.data.catalog import Corpus
    from w2v_core.engine.engine import Engine
    from w2v_core.model.checkpoint import Checkpoint
    from w2v_core.records.cell import Cell
    from w2v_core.verdict.baseline import Baseline
    from w2v_core.verdict.confirm import Asked, Confirmed
    from w2v_core.verdict.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What is common to all cells of a run."""

    device: DeviceChoice = "auto"
    limit: int | None = None
    allow_partial: bool = False
    release: str = "dev"
    reports_dir: Path = Path("reports")
    command: str = ""
    overlap: bool = True
    """Whether batches are staged and decoded while others are computed."""
    event_timeout_s: float = EngineConfig().event_timeout_s
    """See ``EngineConfig.event_timeout_s``."""
    share: Share | None = None
    """Which shard of each set this process takes; None takes all of it."""


@dataclass
class ValidationRun:
    """Opens the device once, loads checkpoints and corpora once, keeps the records."""

    config: RunConfig
    records: list[CellRecord] = field(default_factory=list)
    progress: Progress = silent
    profile: Profile | None = None
    """The last cell's, where one was asked for."""
    lost: DeviceLostError | None = None
    """Why no further cell can be measured; None where one can."""
    on_scored: OnScored = lambda _: None
    """Is handed the scored pass of each cell, frame ids included."""
    load: Callable[[str], Corpus] | None = None
    """Gives the whole of a set by its name, in place of decoding it here."""
    _checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    _corpora: dict[str, Corpus] = field(default_factory=dict)

    @cached_property
    def backend(self) -> Backend:
        """The device; opened on first use.

        Raises:
            DeviceError: the device that was asked for is missing.
        """
        from w2v_core.engine.devices import open_backend

        return open_backend(self.config.device)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """The fingerprint."""
        from w2v_core.records.fingerprint import collect

        return collect(self.backend)

    @cached_property
    def provenance(self) -> Provenance:
        """Run id and what else all records share."""
        from w2v_core.bench.cell_record import Provenance

        now = datetime.now(timezone.utc)
        return Provenance(
            run_id=new_run_id(
                now,
                device="-".join(
                    filter(None, (self.backend.name, self.environment.get("execution")))
                ),
                commit=self.environment.get("commit"),
            ),
            created_utc=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            release=self.config.release,
            command=self.config.command,
            environment=self.environment,
        )

    @cached_property
    def directory(self) -> Path:
        """The run's directory under the reports directory, reserved on first use.

        Raises:
            ReportError: it cannot be written.
        """
        directory = reserve(
            self.config.reports_dir,
            release=self.config.release,
            run_id=self.provenance.run_id,
        )
        if note := os.environ.get(DIRECTORY_NOTE):
            Path(note).write_bytes(os.fsencode(directory.absolute()))
        return directory

    def checkpoint(self, model: str) -> Checkpoint:
        """Load a checkpoint once; see ``model.checkpoint.load_checkpoint`` for what it raises."""
        from w2v_core.model.catalog import parse_model
        from w2v_core.model.checkpoint import load_checkpoint

        if model not in self._checkpoints:
            with self.progress("loading", total=1, unit="checkpoint") as advance:
                self._checkpoints[model] = load_checkpoint(parse_model(model))
                advance(1)
        return self._checkpoints[model]

    def release(self) -> None:
        """Let go of the weights, for processes that measure after this one."""
        self._checkpoints.clear()
        gc.collect()

    def corpus(self, dataset: str) -> Corpus:
        """Decode a corpus once and take this process's shard of it.

        See ``data.catalog.load`` and ``data.sharding.take`` for what it raises.
        """
        if dataset not in self._corpora:
            corpus = (self.load or self.decode)(dataset)
            if self.config.share is not None:
                from w2v_core.data.sharding import take

                corpus = take(corpus, self.config.share)
            self._corpora[dataset] = corpus
        return self._corpora[dataset]

    def decode(self, dataset: str) -> Corpus:
        """Decode the whole of a corpus."""
        from w2v_core.data.catalog import load, parse_dataset

        return load(
            parse_dataset(dataset),
            limit=self.config.limit,
            allow_partial=self.config.allow_partial,
            progress=self.progress,
        )

    def engine(self, cell: Cell) -> Engine:
        """Build the cell's engine: weights on the device, nothing compiled yet."""
        from w2v_core.engine.engine import Engine

        config = EngineConfig(
            dtype=cell.dtype,
            forward=cell.forward,
            graphs=cell.graphs,
            autocast=cell.autocast,
            plan=cell.plan,
            event_timeout_s=self.config.event_timeout_s,
        )
        if not self.config.overlap:
            config = replace(config, num_slots=1, decode_workers=0)
        return Engine(self.checkpoint(cell.model), self.backend, config)

    def measure(
        self, cell: Cell, *, timer: RoundTimer, rounds: int = 1, profile: bool = False
    ) -> CellRecord:
        """Measure one cell and keep its record; blocks.

        Whether its WER is good is not asked here: the record of a bad one is sound.

        Args:
            cell: What to measure.
            timer: Runs and times the rounds.
            rounds: How many it will run, for the progress that is shown.
            profile: Trace a further pass into the run's directory, after all others.

        Raises:
            DeviceLostError: the device was lost in warm-up, or by an earlier cell.
            ReportError: the profile cannot be written; the record is kept.
        """
        from w2v_core.bench.measure import measure_cell
        from w2v_core.bench.phases import Phases
        from w2v_core.bench.recipes import cold_warm_up_s

        if self.lost is not None:
            raise DeviceLostError(f"not measured, as an earlier cell lost the device: {self.lost}")
        with (phases := Phases()).of("checkpoint"):
            engine = self.engine(cell)
        with phases.of("audio"):
            corpus = self.corpus(cell.dataset)
        try:
            record = measure_cell(
                engine,
                corpus,
                cell,
                timer=timer,
                provenance=self.provenance,
                limit=self.config.limit,
                rounds=rounds,
                progress=self.progress,
                on_scored=self.on_scored,
                phases=phases,
            )
            cold_s = cold_warm_up_s(record)
            record = self._kept(replace(record, warm_up_cold_s=cold_s, shard=_shard_of(corpus)))
        finally:
            if engine.lost is not None:
                self._keep_what_is_left(engine.lost)
        if profile and self.lost is None:
            from w2v_core.bench.profile import profile_pass

            self.profile = profile_pass(engine, corpus.utterances, self.directory)
        return record

    def _kept(self, record: CellRecord) -> CellRecord:
        """Keep the record in place of one of the same cell: it was measured again."""
        self.records[:] = [r for r in self.records if r.cell != record.cell]
        self.records.append(record)
        return record

    def _keep_what_is_left(self, lost: DeviceLostError) -> None:
        from w2v_core.bench.aftermath import collect

        self.lost = lost
        collect(lost, self.backend.driver_logs(), self.directory)

    def judge(
        self,
        *,
        session: Session | None = None,
        baseline: Path | None = None,
        known: Baseline | None = None,
        history: Path | None = None,
        confirmed: Callable[[Asked], Confirmed] | None = None,
        most_runs: int = 0,
    ) -> Run:
        """Judge the records; see ``verdict.run.judged``, which every front end comes to."""
        from w2v_core.verdict.run import judged

        return judged(
            self.records,
            session=session,
            baseline=baseline,
            known=known,
            history=history,
            confirmed=confirmed,
            most_runs=most_runs,
        )

    def write(self, run: Run | None = None) -> Path:
        """Write all files of the run to its directory; judges each cell alone without ``run``.

        Raises:
            ReportError: it cannot be written.
        """
        from w2v_core.verdict.run import calibrated

        write_run(self.directory, calibrated(run if run is not None else self.judge()))
        return self.directory


def _shard_of(corpus: Corpus) -> Shard | None:
    share = corpus.share
    if share is None:
        return None
    return Shard(number=share.number, of=share.of, ids=corpus.expected, whole=corpus.whole)
