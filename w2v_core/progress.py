"""Progress of long work: what is going on, how fast, how long it will take. No torch here.

Nothing of it happens inside a timed region: a round is counted after its clock has stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

FORMAT = (
    "{desc}: {percentage:3.0f} % |{bar:24}| {n:.0f} of {total:.0f}{unit}, {rate_noinv_fmt}, "
    "{remaining} left"
)

Advance = Callable[[float], None]
"""Takes how much more is done, in the stage's unit."""


class Progress(Protocol):
    """Watches stages of work."""

    def __call__(self, stage: str, *, total: float, unit: str) -> AbstractContextManager[Advance]:
        """Open a stage of ``total`` units; what is yielded is called as the work goes on."""
        ...


@contextmanager
def silent(stage: str, *, total: float, unit: str) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda amount: None


@contextmanager
def bars(stage: str, *, total: float, unit: str) -> Iterator[Advance]:
    """Show a bar on stderr, gone when the stage is over; nothing where stderr is no terminal."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its thread would wake up in timed regions
    bar = tqdm(
        desc=stage,
        total=total,
        unit=f" {unit}",
        bar_format=FORMAT,
        leave=False,
        file=sys.stderr,
        disable=None,  # where the file is no terminal
    )
    with bar:
        yield bar.update
