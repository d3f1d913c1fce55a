"""What the process of a card is asked to do, and what it says while it does: lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from w2v_core.errors import ConfigError
from w2v_core.jsonfile import convert, decode

FRAMES = "frames-{cell}.npz"
"""Name of the file that holds a cell's frame ids, beside its record."""
WEIGHTS = "weights-{cell}.json"
"""Name of the file that holds the digests of a soaked cell's weights, as they were loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """How long the same cells are measured again and again."""

    passes: int | None = None
    """The number of the last pass; None where the time alone ends it."""
    seconds: float | None = None
    """For how long passes are begun; None where their number alone ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The cells that one process measures on one card."""

    card: str
    """Its name, for the record."""
    folder: str
    """Where its run goes; made by the process, on its own node."""
    front_end: str
    """``fleet`` or ``soak``: whose options these are."""
    options: Mapping[str, Any]
    """What it was given, as argparse read it; of a device, the one that was found."""
    command: str
    cpus: tuple[int, ...] = ()
    cells: tuple[str, ...] = ()
    """Which of the cells asked for; all where there are none."""
    share: str | None = None
    """Of each set, as ``2/7``; None for the whole."""
    corpora: Mapping[str, str] = field(default_factory=dict)
    """Files of decoded sets (corpus.py) by dataset; others are decoded in the process."""
    rounds: int = 1
    """Timed passes of a measurement."""
    soak: Soak | None = None
    """Passes without end in place of a measurement (soaking.py)."""

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: bytes) -> Job:
        """Read back what ``to_json`` returns; raises ConfigError."""
        data = decode(line, source="job", error=ConfigError)
        return convert(data, Job, source="job", error=ConfigError)
