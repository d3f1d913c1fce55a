"""The process of a card in a soak: pass after pass of the same cells, held against the first.

Engines live as long as the process, so that whatever grows with the passes shows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2v_core.backends.power import Sensor, power_log
from w2v_core.bench.energy import sensor_of
from w2v_core.errors import RecordError
from w2v_core.fleet.frames import Disagreement, Frames, first_difference, read_frames, write_frames
from w2v_core.fleet.job import FRAMES, WEIGHTS, Soak
from w2v_core.fleet.levels import read_levels
from w2v_core.fleet.passes import (
    PASSES,
    SOFTWARE,
    CellPass,
    Pass,
    append_pass,
    drop_cut_off,
    read_passes,
)
from w2v_core.fleet.weights import (
    WeightDifference,
    Weights,
    read_weights,
    read_written,
    weight_differences,
    write_weights,
)
from w2v_core.jsonfile import read_json
from w2v_core.records.fingerprint import difference, key
from w2v_core.records.store import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from w2v_core.data.catalog import Corpus
    from w2v_core.engine.engine import Engine
    from w2v_core.records.cell import Cell
    from w2v_core.session import ValidationRun
    from w2v_core.types import Transcription

MOST_TOLD = 10  # utterances of a pass, or tensors, in its line


@dataclass(slots=True, kw_only=True)
class _Soaked:
    """A cell that is soaked."""

    cell: Cell
    engine: Engine
    corpus: Corpus
    batches: int
    """Of one pass."""
    file: Path
    """Of the first pass's frame ids."""
    first: Frames | None
    """Those; None before the first pass."""
    loaded: Weights
    """What the first process held before its first pass."""


def soak(
    run: ValidationRun,
    cells: Sequence[Cell],
    folder: Path,
    asked: Soak,
    *,
    card: str,
    tell: Callable[..., None],
) -> None:
    """Measure the cells pass after pass, from where the folder's passes end; blocks.

    Raises:
        RecordError: passes were made with other software, or of other cells.
        DeviceLostError: the device was lost; the pass in which it was is kept.
        ReportError: a pass cannot be written.
    """
    path, began_s = folder / PASSES, time.monotonic()
    drop_cut_off(path)
    before = read_passes(path)
    _keep_software(folder / SOFTWARE, run.environment)
    _refuse_other_cells(before, cells)
    soaked = [_warm(run, cell, folder) for cell in cells]
    sensor = sensor_of(run.backend, run.environment)
    process, batches = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}", 0
    number = before[-1].number if before else 0
    while number < (asked.passes or float("inf")):
        if time.monotonic() - began_s >= (asked.seconds or float("inf")):
            break
        number, started_s = number + 1, time.perf_counter()
        tell(stage=f"pass {number}")
        run.backend.reset_peak_memory()
        passed = [_pass(one, card=card, sensor=sensor) for one in soaked]
        batches += sum(one.batches for one in soaked)
        graphs = sum(one.engine.runner.captures for one in soaked)
        levels = read_levels(run.backend, graphs=graphs)
        done = Pass(
            number=number,
            process=process,
            at_utc=f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            wall_s=time.perf_counter() - started_s,
            batches=batches,
            levels=levels,
            cells=tuple(passed),
        )
        append_pass(path, done)
        for one in soaked:
            if one.engine.lost is not None:
                raise one.engine.lost


def _keep_software(path: Path, environment: Mapping[str, Any]) -> None:
    """Keep what the first pass was made with; refuse to go on with anything else."""
    now = key(environment)
    if not path.exists():
        write_text(path, json.dumps(now, indent=1) + "\n")
        return
    changed = difference(read_json(path, error=RecordError), now)
    if changed:
        told = ", ".join(f"{c.field} {c.a} -> {c.b}" for c in changed)
        raise RecordError(f"changed since the first pass: {told}; start another soak")


def _refuse_other_cells(before: Sequence[Pass], cells: Sequence[Cell]) -> None:
    ours = {str(cell) for cell in cells}
    if odd := {c.cell for one in before for c in one.cells} ^ (ours if before else set()):
        raise RecordError(f"{PASSES} and this soak differ in {min(odd)}; start another soak")


def _warm(run: ValidationRun, cell: Cell, folder: Path) -> _Soaked:
    corpus, engine = run.corpus(cell.dataset), run.engine(cell)
    engine.warm_up([u.num_samples for u in corpus.utterances], progress=run.progress)
    file, weights = (folder / name.format(cell=cell) for name in (FRAMES, WEIGHTS))
    if not weights.exists():
        write_weights(weights, read_weights(engine))
    return _Soaked(
        cell=cell,
        engine=engine,
        corpus=corpus,
        batches=sum(1 for _ in engine.batches(corpus.utterances)),
        file=file,
        first=read_frames(file) if file.exists() else None,
        loaded=read_written(weights),
    )


def _pass(one: _Soaked, *, card: str, sensor: Sensor | str) -> CellPass:
    with power_log(sensor) as power:
        done = one.engine.transcribe(
            one.corpus.utterances, record_failures=True, keep_frame_ids=True
        )
    if one.first is None:
        write_frames(one.file, done)
        one.first = read_frames(one.file)
    wrong = _changed(card, done, one.first)
    failed = [f"{f.utterance_id} in {f.stage}: {f.error}" for f in done.failures]
    started_s = time.perf_counter()
    held = read_weights(one.engine) if one.engine.lost is None else None
    digest_s = time.perf_counter() - started_s
    altered = [] if held is None else weight_differences(card, held, one.loaded)
    still = _still(one, altered)
    return CellPass(
        cell=str(one.cell),
        wall_s=done.wall_s,
        audio_s=done.audio_s,
        wrong=tuple(wrong[:MOST_TOLD]),
        num_wrong=len(wrong),
        failed=tuple(failed[:MOST_TOLD]),
        num_failed=len(failed),
        weights=None if held is None else held.digest,
        altered=tuple(altered[:MOST_TOLD]),
        num_altered=len(altered),
        num_altered_again=still,
        digest_s=digest_s,
        temperature_c=power.peak_temperature_c,
        power_w=power.mean_w,
        throttled=power.throttled,
    )


def _still(one: _Soaked, altered: Sequence[WeightDifference]) -> int | None:
    """Read the weights once more where some were altered; returns how many of them still are."""
    if not altered:
        return None
    again = weight_differences(altered[0].card, read_weights(one.engine), one.loaded)
    return len({d.tensor for d in altered} & {d.tensor for d in again})


def _changed(card: str, done: Transcription, first: Frames) -> list[Disagreement]:
    """Return the utterances whose frame ids are not the first pass's, bit for bit."""
    ids = {h.utterance_id: np.asarray(h.frame_ids, dtype=np.int32) for h in done.hypotheses}
    return [
        first_difference(card, name, own, first[name])
        for name, own in ids.items()
        if name in first and not np.array_equal(own, first[name])
    ]
