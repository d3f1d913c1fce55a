"""What a soak keeps of each pass: a line of JSON, on disk before the next one begins."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from w2v_core.errors import RecordError
from w2v_core.fleet.frames import Disagreement
from w2v_core.fleet.weights import WeightDifference
from w2v_core.jsonfile import convert, decode, read_bytes
from w2v_core.records.store import as_report_error

PASSES = "passes.jsonl"
PLACE = "soak"
"""Name of the folder of a card's passes."""
SOFTWARE = "software.json"
"""The fingerprint's key of the first process, beside the passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPass:
    """One cell's pass over its set."""

    cell: str
    wall_s: float
    audio_s: float
    """Of what has a transcript."""
    wrong: tuple[Disagreement, ...] = ()
    """The first utterances whose frame ids are not the first pass's."""
    num_wrong: int = 0
    """How many there are of them."""
    failed: tuple[str, ...] = ()
    """Why utterances have no transcript, the first of them."""
    num_failed: int = 0
    weights: str | None = None
    """Digest of all weights on the device behind the pass; None where they are not read."""
    altered: tuple[WeightDifference, ...] = ()
    """The first tensors of weights that are not as they were loaded."""
    num_altered: int = 0
    num_altered_again: int | None = None
    """How many of them a second reading found so too: the others were read wrong, not held. None
    where none was altered, and of an older soak."""
    digest_s: float = 0.0
    """What reading the weights took, behind ``wall_s``."""
    temperature_c: float | None = None
    """The highest that was read."""
    power_w: float | None = None
    """The mean."""
    throttled: tuple[str, ...] = ()

    @property
    def rtfx(self) -> float:
        """Seconds of audio a second; 0 where there is none."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over all cells, and what its process held at its end."""

    number: int
    """From 1, over all processes of the card."""
    process: str
    """Which process made it: its start, UTC."""
    at_utc: str
    """When it was over, ISO 8601."""
    wall_s: float
    """All of it, the reading of the levels included."""
    batches: int
    """Of its process so far, this pass included."""
    levels: Mapping[str, int]
    """By name (steady.LIMITS); what is not measured on the device is not there."""
    cells: tuple[CellPass, ...]


def append_pass(path: Path, one: Pass) -> None:
    """Append a pass; on disk when this returns. Raises ReportError."""
    line = json.dumps(asdict(one), allow_nan=False).encode() + b"\n"
    with as_report_error(path.parent), path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_passes(path: Path) -> list[Pass]:
    """Read the passes of a card, oldest first; one that was cut off by a kill is not there.

    Raises:
        RecordError: a line that is whole cannot be read, or is not the next pass; names it.
    """
    if not path.exists():
        return []
    *lines, _ = read_bytes(path, error=RecordError).split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        source = f"{path.name} line {number}"
        data = decode(line, source=source, error=RecordError)
        found.append(convert(data, Pass, source=source, error=RecordError))
        if found[-1].number != number:
            told = f"{source} is pass {found[-1].number}; passes are missing, or there twice"
            raise RecordError(f"{told}: start another soak")
    return found


def drop_cut_off(path: Path) -> None:
    """Take away what a killed process left of a line, before another one is appended."""
    if not path.exists():
        return
    with as_report_error(path.parent), path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
