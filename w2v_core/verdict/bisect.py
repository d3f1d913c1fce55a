"""Which of several installations in a row first has a loss: a noisy binary search by pairs.

The first is known to be good, the last to be bad. Each comparison runs interleaved pairs of the
first and another one. It does not answer yes or no: it gives the probability that at least half of
the whole loss is there, and with it a posterior over the place of the change; the next one is made
where that splits in half (Horstein, "Sequential transmission using noiseless feedback", IEEE Trans.
Information Theory 9(3), 1963). Without noise that is the ordinary binary search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from w2v_core.errors import ConfigError, RecordError
from w2v_core.verdict.outcome import EXIT_CODES
from w2v_core.verdict.robust import LEAST_SD
from w2v_core.verdict.statistics import Floats, paired_effects, upper_bound

FEWEST = 2
_SHOWN = (
    0.01  # the error rate at which the last one has to be slower than the first, over the cells
)
_SUREST = 0.999  # what one comparison may say at most: a machine can be disturbed for all of it
_HALF = 0.5

Ratios = Mapping[str, Sequence[float]]
"""Log throughput ratios to the first installation by cell, one a pair."""
Measure = Callable[[int], Ratios]
"""From an installation's place to what its pairs with the first gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """Where the loss began, and how sure that is."""

    names: tuple[str, ...]
    posterior: tuple[float, ...]
    """By place; the probability that the loss begins there. 0 for the first."""
    comparisons: int
    loss: float
    """Of the last against the first, a fraction, in the cells that show it."""
    cells: tuple[str, ...]
    """Those that show it; none where the last is not shown to be slower."""
    confidence: float

    @property
    def place(self) -> int:
        """The likeliest place."""
        return int(np.argmax(self.posterior))

    @property
    def probability(self) -> float:
        """That of the likeliest place."""
        return self.posterior[self.place]

    @property
    def exit_code(self) -> int:
        """0 found, 2 not sure enough."""
        is_found = bool(self.cells) and self.probability >= self.confidence
        return EXIT_CODES["PASS" if is_found else "INCONCLUSIVE"]

    def summary(self) -> str:
        """Say it in a line."""
        first, last = self.names[0], self.names[-1]
        if not self.cells:
            return f"INCONCLUSIVE: {last} is not shown to be slower than {first}; more pairs"
        told = (
            f"the loss of {self.loss * 100:.2g} % from {first} to {last} begins with "
            f"{self.names[self.place]}, with a probability of {self.probability:.1%}, after "
            f"{self.comparisons} comparisons (in {', '.join(self.cells[:3])})"
        )
        return told if self.exit_code == 0 else f"INCONCLUSIVE: {told}"


def bisect(
    names: Sequence[str],
    measure: Measure,
    *,
    confidence: float = 0.95,
    most: int = 40,
    report: Callable[[str], None] = lambda _: None,
) -> Bisection:
    """Search; blocks for as many comparisons as it makes.

    Args:
        names: The installations in order, at least two.
        measure: Compares one with the first.
        confidence: The probability at which it ends.
        most: Comparisons.
        report: Told after each what is thought.

    Raises:
        ConfigError: fewer than two installations, or a confidence that is no probability.
        RecordError: a comparison lacks a cell that shows the loss.
    """
    if len(names) < FEWEST or len(set(names)) != len(names):
        raise ConfigError(f"{len(names)} installations; give two or more different ones, in order")
    if not _HALF < confidence < 1:
        text = f"{{flag:confidence}} is {confidence}; it must be within ({_HALF}, 1)"
        raise ConfigError(text, field="confidence", value=confidence)
    last = len(names) - 1
    seen: list[tuple[int, Ratios]] = [(last, measure(last))]
    scale = _scale(seen[0][1])
    while True:
        found = _concluded(names, seen, scale, confidence)
        report(found.summary())
        place = _next(found.posterior)
        is_over = not found.cells or found.probability >= confidence or len(seen) >= most
        if is_over or place is None:
            return found
        seen.append((place, measure(place)))


def _scale(whole: Ratios) -> dict[str, float]:
    """Return the weights by which cells add up to 0 for the first and 1 for the last.

    Only cells count in which the last is shown to be slower; none where it is not.
    """
    cells = sorted(whole)
    effects = paired_effects(np.asarray([whole[cell] for cell in cells]))
    is_slower = upper_bound(effects, _SHOWN / len(cells)) < 0
    weights = np.where(is_slower, effects.mean / np.square(np.maximum(effects.sd, LEAST_SD)), 0.0)
    total = float((weights * effects.mean).sum())
    return {c: float(w) / total for c, w in zip(cells, weights, strict=True) if w} if total else {}


def _concluded(
    names: Sequence[str],
    seen: Sequence[tuple[int, Ratios]],
    scale: Mapping[str, float],
    confidence: float,
) -> Bisection:
    posterior = np.full(len(names), 1 / (len(names) - 1))
    posterior[0] = 0.0
    loss = 0.0
    if scale:
        scores = [(place, _scores(ratios, scale)) for place, ratios in seen]
        weights = np.abs(np.asarray(list(scale.values())))
        means = np.asarray([np.mean(seen[0][1][cell]) for cell in scale])
        loss = float(-np.expm1((weights * means).sum() / weights.sum()))
        squares = sum(float(np.square(s - s.mean()).sum()) for _, s in scores)
        df = max(sum(len(s) - 1 for _, s in scores), 1)
        least = LEAST_SD * float(np.sqrt(np.square(list(scale.values())).sum()))
        sd = max(float(np.sqrt(squares / df)), least)
        for place, values in scores[1:]:
            distance = (float(values.mean()) - _HALF) / (sd / np.sqrt(len(values)))
            is_there = float(np.clip(special.stdtr(df, distance), 1 - _SUREST, _SUREST))
            before = np.arange(len(names)) <= place
            posterior *= np.where(before, is_there, 1 - is_there)
        posterior /= posterior.sum()
    return Bisection(
        names=tuple(names),
        posterior=tuple(float(p) for p in posterior),
        comparisons=len(seen),
        loss=loss,
        cells=tuple(sorted(scale, key=lambda c: -abs(scale[c]))),
        confidence=confidence,
    )


def _scores(ratios: Ratios, scale: Mapping[str, float]) -> Floats:
    """Return (pairs,) how much of the whole loss is there: about 0 or about 1."""
    if missing := sorted(set(scale) - set(ratios)):
        raise RecordError(f"{missing[0]} is slower in the last, and missing in between")
    table = np.asarray([np.asarray(ratios[cell]) * weight for cell, weight in scale.items()])
    return np.asarray(table.sum(axis=0), dtype=np.float64)


def _next(posterior: Sequence[float]) -> int | None:
    """Return the place whose answer is worth most; None where only the ends are left."""
    below = np.cumsum(posterior)[1:-1]
    return int(np.abs(below - _HALF).argmin()) + 1 if below.size else None
