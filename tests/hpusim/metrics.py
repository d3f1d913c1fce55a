"""The counters behind habana_frameworks.torch.hpu.metrics."""

from __future__ import annotations

import collections

__all__ = ["Metric", "Metrics"]

Stats = list[tuple[str, object]]


class Metric:
    """One named metric: an event count, a total time and what the events were."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.reset()

    def name(self) -> str:
        """Return the metric's name; a method, as the bridge has it."""
        return self._name

    def since(self, earlier: Metric) -> Metric:
        """Return what was counted after ``earlier``, a copy of this metric, was taken."""
        later = Metric(self._name)
        later.total, later.time_us = self.total - earlier.total, self.time_us - earlier.time_us
        later.what = self.what - earlier.what
        return later

    def add(self, what: str, *, seconds: float = 0.0) -> None:
        """Count one event."""
        self.total += 1
        self.time_us += seconds * 1e6
        self.what[what] += 1

    def reset(self) -> None:
        """Start from zero."""
        self.total = 0
        self.time_us = 0.0
        self.what: collections.Counter[str] = collections.Counter()

    def stats(self) -> Stats:
        """Return the bridge's form: a list of (key, value)."""
        if self._name == "cpu_fallback":
            return [("TotalNumber", self.total), ("FallbackOps", dict(self.what))]
        if self._name == "recipe_cache":
            return [("RecipeHit", self.what["hit"]), ("RecipeMiss", self.what["miss"])]
        average = self.time_us / self.total if self.total else 0.0
        return [
            ("TotalNumber", self.total),
            ("TotalTime", int(self.time_us)),
            ("AvgTime", int(average)),
        ]


class Metrics:
    """All metrics of one device; recipe_cache only where the environment asked for it."""

    def __init__(self, *, cache_metrics: bool) -> None:
        names = ["graph_compilation", "cpu_fallback", "memory_defragmentation"]
        if cache_metrics:
            names.append("recipe_cache")
        self.by_name = {name: Metric(name) for name in names}

    def compiled(self, what: str, seconds: float) -> None:
        """Count a synGraphCompile."""
        self.by_name["graph_compilation"].add(what, seconds=seconds)

    def fell_back(self, op: str) -> None:
        """Count an op handed to the host."""
        self.by_name["cpu_fallback"].add(op)

    def recipe(self, *, hit: bool) -> None:
        """Count a look-up in the recipe cache."""
        if "recipe_cache" in self.by_name:
            self.by_name["recipe_cache"].add("hit" if hit else "miss")
