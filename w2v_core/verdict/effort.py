"""How many processes and rounds a comparison of pairs gets: from a pilot, for a number of minutes.

Source: Kalibera and Jones, "Rigorous benchmarking in reasonable time" (ISMM 2013): repetitions go
to where variance is, weighed by what they cost. Of all numbers of rounds the one is taken whose
interval is narrowest in the given time; for many pairs that is their ``sqrt(process cost / round
cost * round variance / process variance)``. At least half of the time is spent in rounds: a process
that costs more than its rounds gets more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2v_core.config import MIN_PAIRS
from w2v_core.errors import ConfigError
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.paired import Pair, log_ratios
from w2v_core.verdict.statistics import Floats, t_quantile

PILOT_PAIRS = 3
PILOT_ROUNDS = 3
_MOST_ROUNDS = 1000
_MEDIAN = np.pi / 2  # variance of a median over that of a mean; RTFx is of the median round
_STAGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a few pairs said about time and variance."""

    process_s: float
    """Seconds of a process outside its timed rounds."""
    round_s: float
    """Seconds of one round of all cells."""
    between: Floats
    """(cells,) variance of a pair's log ratio that more rounds do not take away."""
    within: Floats
    """(cells,) variance of one round's log seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Pairs of a stage, rounds of a process, and what they will cost and give."""

    pairs: int
    rounds: int
    minutes: float
    """Of one stage with its warm-up pair; of two where the screen does not pass."""
    share_in_rounds: float
    half_width: float
    """Expected half width of the worst cell's interval over both stages, a fraction."""
    why: str
    """What limits it."""

    def told(self) -> str:
        """Say it in a line, before it starts."""
        return (
            f"plan: {self.pairs} pairs a stage of {self.rounds} rounds, {self.minutes:.1f} min, "
            f"twice that where the screen does not pass; {self.share_in_rounds:.0%} of it in "
            f"rounds; expected interval +-{self.half_width * 100:.2g} %; {self.why}"
        )


def learn(pairs: Sequence[Pair], *, wall_s: float, runs: int) -> Pilot:
    """Estimate times and variances from a pilot of ``runs`` processes that took ``wall_s``.

    Raises:
        ConfigError: a cell of it has a single round, which says nothing about rounds.
    """
    records = [r for pair in pairs for side in (pair.a, pair.b) for r in side]
    cells = sorted({r.cell for r in records})
    single = [r.cell for r in records if len(r.rounds_s) < MIN_PAIRS]
    if single:
        raise ConfigError(
            f"{single[0]} has one round in the pilot; let the commands take {{rounds}}"
        )
    rounds = min(len(r.rounds_s) for r in records)
    logs = {c: [np.log(r.rounds_s) for r in records if r.cell == c] for c in cells}
    within = np.asarray([np.mean([np.var(v, ddof=1) for v in logs[c]]) for c in cells])
    ratios = log_ratios(pairs, cells)
    between = ratios.var(axis=-1, ddof=1) - 2 * _MEDIAN * within / rounds
    processes = 2 * len(pairs)
    round_s = sum(sum(r.rounds_s) / len(r.rounds_s) for r in records) / processes
    timed_s = sum(sum(r.rounds_s) for r in records) / processes
    return Pilot(
        process_s=max(wall_s / runs - timed_s, 0.0),
        round_s=round_s,
        between=np.maximum(between, 0.0),
        within=within,
    )


def allocate(pilot: Pilot, *, minutes: float, policy: Policy, rounds: int | None = None) -> Plan:
    """Choose pairs and rounds for two stages within so many minutes.

    Args:
        pilot: Of the same two commands.
        minutes: For both stages, their warm-up pairs included.
        policy: For the width of the interval.
        rounds: What a process has anyway, where the commands do not take a number.

    Raises:
        ConfigError: the minutes are too few for two pairs a stage.
    """
    least = max(int(np.ceil(pilot.process_s / max(pilot.round_s, 1e-9))), MIN_PAIRS)
    tried = np.asarray([rounds]) if rounds is not None else np.arange(least, least + _MOST_ROUNDS)
    pair_s = 2 * (pilot.process_s + tried * pilot.round_s)
    pairs = np.floor(minutes * 60 / _STAGES / pair_s) - 1  # the warm-up pair of each stage
    if pairs[0] < MIN_PAIRS:
        needed = _STAGES * (MIN_PAIRS + 1) * pair_s[0] / 60
        raise ConfigError(
            f"{minutes:g} minutes are too few for {MIN_PAIRS} pairs a stage of {tried[0]} rounds; "
            f"give {needed:.1f} or more"
        )
    fits = pairs >= MIN_PAIRS
    tried, pair_s, pairs = tried[fits], pair_s[fits], pairs[fits]
    total: Floats = _STAGES * pairs
    within = 2 * _MEDIAN * pilot.within / tried[:, None]  # (tried, cells)
    variance = pilot.between + within
    quantile = t_quantile(policy.family_alpha / variance.shape[1], total - 1.0)
    half = quantile * np.sqrt(variance.max(axis=1) / total)
    best = int(half.argmin())
    worst = int(variance[best].argmax())
    limit, remedy = "processes", "quieten the machine, or give more minutes"
    if within[best, worst] > pilot.between[worst]:
        limit, remedy = "rounds", "longer rounds (more utterances) would narrow it most"
    return Plan(
        pairs=int(pairs[best]),
        rounds=int(tried[best]),
        minutes=float((pairs[best] + 1) * pair_s[best] / 60),
        share_in_rounds=float(tried[best] * pilot.round_s / (pair_s[best] / 2)),
        half_width=float(np.expm1(half[best])),
        why=f"it is the variance between {limit} that limits it: {remedy}",
    )
