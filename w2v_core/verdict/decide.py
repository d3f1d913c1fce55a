"""PASS, FAIL or INCONCLUSIVE from throughput effects, for one night or for thousands at once.

The rule, for a margin (3 %: the loss that must not go unseen) and a tolerance (0.5 %: a loss that
nobody acts on):

- PASS where the interval excludes a loss as large as the margin;
- FAIL where it does not, and the loss is shown to exceed the tolerance;
- INCONCLUSIVE otherwise, with the number of runs that would decide it.

Both errors are controlled over the family of cells: at most ``family_alpha`` of the nights have a
false FAIL, and at most ``family_alpha`` a PASS where a cell lost the whole margin. Pairs are judged
twice: a cell fails where the screen and then fresh pairs of the confirmation both show the loss,
each at ``sqrt(family_alpha / cells)``, so that their product is Bonferroni's level.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from w2v_core.errors import ConfigError
from w2v_core.verdict.statistics import (
    Effects,
    Floats,
    lower_bound,
    paired_effects,
    t_quantile,
    upper_bound,
)

Verdict = Literal["PASS", "INCONCLUSIVE", "FAIL"]
VERDICTS: tuple[Verdict, ...] = ("PASS", "INCONCLUSIVE", "FAIL")
"""From best to worst; a decision's codes index it."""

PASS, INCONCLUSIVE, FAIL = range(3)
_MOST_RUNS = 1000  # more runs than anybody makes: planning answers "not by more runs"
_PLANNED_MISS = 0.05  # a plan reaches its verdict in 95 % of the cases


def worst(*verdicts: Verdict) -> Verdict:
    """Return the worst of the verdicts; INCONCLUSIVE where there is none."""
    return max(verdicts, key=VERDICTS.index, default="INCONCLUSIVE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the gate promises."""

    margin: float = 0.03
    """The slowdown that must be found, a fraction of throughput."""
    tolerance: float = 0.005
    """The slowdown that is never held against a run, a fraction."""
    family_alpha: float = 0.01
    """Nights with a false verdict over all cells together, a fraction."""
    wer_margin: float = 0.001
    """The WER increase that must be found, a fraction (0.001 is 0.1 points)."""
    undecided_loss: float = 0.1
    """The point loss that is red even where the noise cannot exclude that it is none, a fraction of
    throughput."""

    def __post_init__(self) -> None:
        """Refuse limits that contradict each other."""
        if not 0 <= self.tolerance < self.margin < 1:
            raise ConfigError(
                f"margin {self.margin} and tolerance {self.tolerance}: "
                "need 0 <= tolerance < margin < 1 (0.03 is 3 %)"
            )
        if not 0 < self.family_alpha < 0.5:
            raise ConfigError(f"family_alpha is {self.family_alpha}; it must be within (0, 0.5)")
        if not self.margin <= self.undecided_loss < 1:
            raise ConfigError(
                f"undecided_loss is {self.undecided_loss}; it must be at least the margin "
                f"{self.margin}, and below 1"
            )
        if self.wer_margin <= 0:
            raise ConfigError(f"wer_margin is {self.wer_margin}; it must be positive")

    @property
    def log_margin(self) -> float:
        """The margin as a log ratio, negative."""
        return float(np.log1p(-self.margin))

    @property
    def log_undecided_loss(self) -> float:
        """The undecided loss as a log ratio, negative."""
        return float(np.log1p(-self.undecided_loss))

    @property
    def log_tolerance(self) -> float:
        """The tolerance as a log ratio, zero or negative."""
        return float(np.log1p(-self.tolerance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, each (..., cells)."""

    codes: npt.NDArray[np.int8]
    """Index into VERDICTS."""
    effects: Effects
    lower: Floats
    """Simultaneous lower bound of the log ratio over the cells."""
    upper: Floats
    suspicious: npt.NDArray[np.bool_]
    """The loss shows on the screen; fresh pairs have to confirm it."""
    runs_needed: Floats
    """Runs (pairs per stage) that would decide, in total; infinite where more of them cannot."""
    runs_on_both: Floats
    """The same where the baseline gets as many; infinite for pairs, which have no baseline."""

    def only_night(self) -> Decision:
        """Return the decision of the only night, (cells,) each."""
        effects = {f.name: getattr(self.effects, f.name)[0] for f in fields(Effects)}
        told = {f.name: getattr(self, f.name)[0] for f in fields(Decision) if f.name != "effects"}
        return Decision(effects=Effects(**effects), **told)


def decide_pairs(screen: Floats, confirm: Floats | None, policy: Policy) -> Decision:
    """Judge log ratios of interleaved pairs, (..., cells, pairs), at least two pairs a stage.

    Without a confirmation nothing fails: what looks slower is INCONCLUSIVE and ``suspicious``.
    """
    first = paired_effects(screen)
    cells = first.mean.shape[-1]
    alpha, stage_alpha = policy.family_alpha / cells, float(np.sqrt(policy.family_alpha / cells))
    suspicious = upper_bound(first, stage_alpha) < policy.log_tolerance
    effects, slower = first, np.zeros_like(suspicious)
    if confirm is not None:
        again = paired_effects(confirm)
        slower = suspicious & (upper_bound(again, stage_alpha) < policy.log_tolerance)
        effects = paired_effects(np.concatenate((screen, confirm), axis=-1))
    lower, upper = lower_bound(effects, alpha), upper_bound(effects, alpha)
    needed = count_runs(needed_variance(effects.sd, effects.df, (alpha, stage_alpha), policy))
    return Decision(
        codes=_codes(lower, slower, policy),
        effects=effects,
        lower=lower,
        upper=upper,
        suspicious=suspicious & (lower <= policy.log_margin),
        runs_needed=needed,
        runs_on_both=np.full_like(needed, np.inf),
    )


def decide_night(
    screen: Floats, confirm: Floats, policy: Policy
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Judge nights as `w2v pair` does: the confirmation is made where the screen did not pass.

    Args:
        screen: (..., cells, pairs) log ratios.
        confirm: The same of the fresh pairs that would be made.
        policy: What to decide by.

    Returns:
        The codes (..., cells), and whether the night needed its confirmation (...).
    """
    first = decide_pairs(screen, None, policy).codes
    asked = (first != PASS).any(axis=-1)
    codes = np.array(first)
    if asked.any():
        codes[asked] = decide_pairs(screen[asked], confirm[asked], policy).codes
    return codes, asked


def _codes(lower: Floats, slower: npt.NDArray[np.bool_], policy: Policy) -> npt.NDArray[np.int8]:
    passed = lower > policy.log_margin  # False where the bound is NaN
    codes = np.where(passed, PASS, np.where(slower, FAIL, INCONCLUSIVE))
    return codes.astype(np.int8)


def needed_variance(sd: Floats, df: Floats, alphas: tuple[float, float], policy: Policy) -> Floats:
    """Return the variance of a shift, over that of a run, at which a verdict is found in 95 %.

    ``alphas`` are the error rates of PASS and FAIL.
    """
    missed = t_quantile(_PLANNED_MISS, df)
    to_pass = (t_quantile(alphas[0], df) + missed) / -policy.log_margin
    to_fail = (t_quantile(alphas[1], df) + missed) / (policy.log_tolerance - policy.log_margin)
    hardest = np.maximum(to_pass, to_fail) * np.maximum(sd, 1e-12)
    return np.asarray(1.0 / np.square(hardest), dtype=np.float64)


def count_runs(share: Floats) -> Floats:
    """Return the runs whose ``1 / runs`` is at most ``share``; infinite where nobody makes them."""
    needed = np.ceil(np.divide(1.0, share, out=np.full_like(share, np.inf), where=share > 0))
    return np.where(needed > _MOST_RUNS, np.inf, np.maximum(needed, 1.0))
