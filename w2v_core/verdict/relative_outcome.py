"""What comparing releases hands back: rows, the difference of the fingerprints, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2v_core.records.fingerprint import FieldDifference
from w2v_core.verdict.decide import VERDICTS, Policy, Verdict, worst
from w2v_core.verdict.outcome import EXIT_CODES, UNUSABLE, Wer

__all__ = ["INTERVAL_LEVEL", "CellComparison", "Comparison", "Matrix"]

INTERVAL_LEVEL = 0.98
"""Of the shown two-sided interval of one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """One cell of two releases; ratios and differences are b against a."""

    cell: str
    verdict: Verdict
    reasons: tuple[str, ...]
    runs_a: int = 0
    runs_b: int = 0
    rtfx_a: float | None = None
    rtfx_b: float | None = None
    """Geometric means over the runs."""
    ratio: float | None = None
    """Throughput of b over a, estimated within each host and card; above 1 is faster."""
    ratio_lower: float | None = None
    ratio_upper: float | None = None
    """98 % interval of this cell alone; None where no side was run twice."""
    p_slower: float | None = None
    """One-sided p value of "not slower than the tolerance", Holm-adjusted over the cells."""
    latency_a_s: Mapping[str, float] | None = None
    latency_b_s: Mapping[str, float] | None = None
    """p50, p90, p99; medians over the runs."""
    wer: Wer | None = None
    graph_captures: tuple[int, int] | None = None
    """Of a and b, in the newest run; likewise the others."""
    captures_timed: tuple[int, int] | None = None
    compilations_timed: tuple[int, int] | None = None
    cpu_fallbacks_timed: tuple[int, int] | None = None
    warm_up_s: tuple[float, float] | None = None
    peak_memory_bytes: tuple[int, int] | None = None
    energy_j: tuple[float | None, float | None] | None = None
    """Per round, where the fingerprint holds ``energy_j``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two releases, cell by cell."""

    name_a: str
    name_b: str
    cells: tuple[CellComparison, ...]
    """Worst first."""
    environment: tuple[FieldDifference, ...]
    """Fields of the fingerprints that differ, those known to matter first."""
    fields_compared: int
    attribution: str
    """Why a difference may not be called the release's; empty where it may."""
    policy: Policy

    @property
    def verdict(self) -> Verdict:
        """The worst cell; INCONCLUSIVE at best where nothing may be attributed."""
        found = worst(*(c.verdict for c in self.cells))
        return "INCONCLUSIVE" if self.attribution else found

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 2 inconclusive, 3 where the sides share no cell."""
        if all(c.ratio is None for c in self.cells):
            return UNUSABLE
        return EXIT_CODES[self.verdict]

    def summary(self) -> str:
        """Return one line: the verdict, its counts, and why nothing is attributed."""
        counts = ", ".join(
            f"{n} {name}"
            for name in reversed(VERDICTS)
            if (n := sum(c.verdict == name for c in self.cells))
        )
        why = f"; not attributed to the release: {self.attribution}" if self.attribution else ""
        return f"{self.name_b} against {self.name_a}: {self.verdict} ({counts}){why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Several releases, each against the first one."""

    releases: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    """In the order of the releases after the first."""

    @property
    def verdict(self) -> Verdict:
        """The worst comparison."""
        return worst(*(c.verdict for c in self.comparisons))

    @property
    def exit_code(self) -> int:
        """The exit code of the worst comparison; 3 where one is unusable."""
        codes = {c.exit_code for c in self.comparisons}
        return UNUSABLE if UNUSABLE in codes else EXIT_CODES[self.verdict]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a cell: the ratio and the verdict of every release after the first."""
        cells = sorted({c.cell for m in self.comparisons for c in m.cells})
        found = {(m.name_b, c.cell): c for m in self.comparisons for c in m.cells}
        rows = []
        for cell in cells:
            row: dict[str, Any] = {"cell": cell}
            for release in self.releases[1:]:
                one = found.get((release, cell))
                row[f"ratio {release}"] = one.ratio if one is not None else None
                row[f"verdict {release}"] = one.verdict if one is not None else "INCONCLUSIVE"
            rows.append(row)
        return rows
