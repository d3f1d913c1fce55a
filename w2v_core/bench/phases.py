"""Where a cell's wall time goes, so that a night's cost beside its rounds can be seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Phases:
    """Wall seconds by phase (``records.record.PHASES``), added up as they end."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Add the block's wall seconds to ``name``, also where it raises."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - started_s
            self.seconds[name] = self.seconds.get(name, 0.0) + spent_s
