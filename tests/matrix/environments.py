"""The environments that the suite must pass in: oldest, pinned, newest."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN = ("torch", "transformers", "numpy", "pandas", "datasets")
"""Packages whose versions the table shows."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Python and what pip is told beside the project itself."""

    name: str
    python: str
    requirements: tuple[str, ...] = ()
    pinned: bool = False
    """Whether constraints.txt chooses the versions."""


OLDEST = ("torch==2.6.*", "transformers==4.45.*", "numpy==1.26.*", "datasets==3.0.*")
ARROW = "pyarrow<18"  # newer ones are built for numpy 2 or drop what datasets 3.0 calls
PINNED = ("3.10", "3.11", "3.12", "3.13")

ENVIRONMENTS = (
    Environment(name="oldest", python="3.10", requirements=(*OLDEST, ARROW)),
    *(Environment(name=f"pins-{v}", python=v, pinned=True) for v in PINNED),
    Environment(name="newest", python="3.13"),
)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What one run of pytest came to."""

    passed: int
    failed: int
    """Failures and errors."""
    status: int
    """pytest's exit code; other than 0 is red also where no test failed."""

    def __str__(self) -> str:
        ended = "" if self.status == 0 or self.failed else f", exit {self.status}"
        return f"{self.passed} passed, {self.failed} failed{ended}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One environment's line of the table; ``why_not`` where there was nothing to run in."""

    environment: Environment
    python: str = ""
    versions: dict[str, str]
    unit: Tally | None = None
    suite: Tally | None = None
    wall_s: float = 0
    why_not: str = ""

    @property
    def is_green(self) -> bool:
        """Whether both runs ended with 0."""
        return all(tally is not None and tally.status == 0 for tally in (self.unit, self.suite))


def markdown(rows: list[Row]) -> str:
    """Return the table."""
    head = ["environment", "Python", *SHOWN, "unit tests", "suite", "wall s"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        found = [row.versions.get(name, "-") for name in SHOWN]
        ended = [row.why_not or str(row.unit or "-"), str(row.suite or "-"), f"{row.wall_s:.0f}"]
        lines.append([row.environment.name, row.python or row.environment.python, *found, *ended])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
