"""One night decides itself: a sequential rule over its process runs, thousands of nights at once.

What all cells share is the machine's own level (``median`` over the cells of a run) and is judged
beside them, as a cell of its own; a cell is judged by what it lost against the others. The first
process run of a night may be cold: what passes on it has passed, but it is never held against a
cell. What does not pass is measured again in fresh processes, with a few cells that passed as
controls for the machine's level, and looked at after 1, 2, 4, 6, 8 and 10 of them:

- PASS at any look where a loss of the margin is excluded;
- FAIL at the last look where a loss above the tolerance is shown, at the family's error rate; a
  very clear loss at 4 or 6 runs, each at a tenth of that rate (alpha spending, Lan and
  DeMets 1983);
- INCONCLUSIVE otherwise.

The effect is the Hodges-Lehmann shift (the median of all differences between tonight's runs and the
baseline's), which one odd run in five does not move. Its error counts that runs of one night
resemble each other: a share of the variance, at least ``_SHARED``, is not averaged away by
measuring again, and more where tonight's runs vary less than those of the baseline do. Error rates
by kind of noise: tests/simulation/test_nights.py, docs/measuring.md.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from w2v_core.config import MOST_RUNS
from w2v_core.verdict.decide import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    Decision,
    Policy,
    count_runs,
    needed_variance,
)
from w2v_core.verdict.robust import (
    FEWEST_CELLS,
    LEAST_SD,
    common_share,
    hodges_lehmann,
    level_variance,
    lowest_mode,
    median,
    polish,
    pooled_ratio,
    run_variance,
    stands_together,
    tail_df,
    without_far,
)
from w2v_core.verdict.statistics import Effects, Floats, t_quantile

Mask = npt.NDArray[np.bool_]

LOOKS = (1, 2, 4, 6, 8, 10)
_EARLY = {4: 0.1, 6: 0.1}  # looks at which a very clear loss fails, and their share of alpha
_LATE = 0.8
_MACHINE = 0.1  # of the family's alpha
_CONTROLS = 8  # cells, or one in eight of more than 64
_SHARED = 0.08
_SHARED_TOGETHER, _SHARED_TO_FAIL = 0.2, 0.5  # where the machine's level cannot be taken out
_CLOSE = 0.5  # of the margin: a point loss beyond it never passes
_MEDIAN = np.pi / 2  # variance of a median over that of a mean


class Nights:
    """Nights that are measured run by run against their baselines.

    Args:
        baseline: (nights, cells, runs) log throughputs; NaN where a run lacks a cell.
        policy: Margins and error rates.
        most_runs: Fresh runs after the first.
    """

    def __init__(self, baseline: Floats, policy: Policy, *, most_runs: int = MOST_RUNS) -> None:
        self._policy, self._most = policy, most_runs
        self._cells = baseline.shape[1]
        self.separates = self._cells >= FEWEST_CELLS
        self._centre, self._levels = polish(baseline, separates=self.separates)
        self._base = baseline - self._centre[..., None] - self._levels[:, None, :]
        self._base_runs = np.maximum(np.isfinite(baseline).sum(axis=-1), 1).astype(np.float64)
        usual = without_far(self._base, separates=self.separates)
        usual_runs = np.maximum(np.isfinite(usual).sum(axis=-1), 1).astype(np.float64)
        self._variance, self._df = run_variance(usual, usual_runs, separates=self.separates)
        self._common = common_share(self._base, self._variance, self._base_runs)
        alone = np.maximum(self._base_runs - 1, 1.0)
        self._df = np.where(self._common > _SHARED, np.minimum(self._df, 2 * alone), self._df)
        self._level_variance = level_variance(self._levels)
        self._runs: list[Floats] = []
        self._night_levels: list[Floats] = []
        self._level_errors: list[Floats] = []
        shape = baseline.shape[:2]
        self._codes = np.full(shape, INCONCLUSIVE, dtype=np.int8)
        self._machine = np.full((shape[0], 1), INCONCLUSIVE if self.separates else PASS, np.int8)

    @property
    def fresh_runs(self) -> int:
        """Runs after the first."""
        return max(len(self._runs) - 1, 0)

    def add(self, values: Floats) -> None:
        """Take the next run, (nights, cells) log throughputs; NaN where a cell was not measured."""
        relative = values - self._centre
        level, error = self._level(relative)
        self._runs.append(relative - level[:, None])
        self._night_levels.append(level)
        self._level_errors.append(error)
        if self.fresh_runs in (0, *LOOKS):
            self._look(_EARLY.get(self.fresh_runs, 0.0))

    def asked(self, also: Mask | None = None) -> Mask:
        """Return (nights, cells): what the next fresh run measures; nothing where all is decided.

        Cells without a verdict or of ``also``, and the quietest others, for the machine's level.
        """
        wanted = self._codes == INCONCLUSIVE
        open_cells = (wanted if also is None else wanted | also) & np.isfinite(self._runs[0])
        is_open = open_cells.any(axis=-1) | (self._machine[:, 0] == INCONCLUSIVE)
        is_open &= self.fresh_runs < self._most
        asked: Mask = open_cells & is_open[:, None]
        if not self.separates:
            return asked
        passed = (self._codes == PASS) & np.isfinite(self._runs[0])
        distance = np.where(passed, np.abs(self._runs[0]), np.inf)
        rank = np.argsort(np.argsort(distance, axis=-1, kind="stable"), axis=-1, kind="stable")
        controls = passed & (rank < max(_CONTROLS, self._cells // 8))
        few = passed.sum(axis=-1) < FEWEST_CELLS  # then all cells are needed for a level
        controls = np.where(few[:, None], np.isfinite(self._runs[0]), controls)
        return np.asarray(asked | (controls & is_open[:, None]), dtype=np.bool_)

    def decide_only(self) -> tuple[Decision, Decision | None]:
        """Judge a single night: its cells, and the machine; None where the cells cannot tell."""
        cells, machine = (decision.only_night() for decision in self.decide())
        return cells, machine if self.separates else None

    def decide(self) -> tuple[Decision, Decision]:
        """Judge what was measured so far as all that there will be: cells, and the machine."""
        cells, machine = self._codes.copy(), self._machine.copy()
        try:
            self._look(_LATE if self.fresh_runs > min(_EARLY) else 1.0)
            return self._judged(), self._machine_judged()
        finally:
            self._codes, self._machine = cells, machine

    def _look(self, fail_share: float) -> None:
        shift, error, df, count = self._effects()
        policy = self._policy
        open_cells = self._codes == INCONCLUSIVE
        self._codes[open_cells & self._passes(shift, error, df)] = PASS
        if fail_share:
            open_cells = self._codes == INCONCLUSIVE
            alpha = fail_share * (1 - _MACHINE) * policy.family_alpha / self._cells
            error = error if self.separates else self._effects(to_fail=True)[1]
            reach = t_quantile(alpha, np.minimum(df, tail_df(count))) * error
            lost = (shift + reach < policy.log_tolerance) & self._is_steady(
                count, early=fail_share in _EARLY.values()
            )
            lost &= open_cells
            if self.separates and lost.any():
                lost &= stands_together(self._base, shift, lost)[:, None]
            self._codes[lost] = FAIL
        if self.separates:
            self._look_at_machine(fail_share)

    def _is_steady(self, count: Floats, *, early: bool) -> Mask:
        """Whether the loss shows in run after run: a few stuck runs move a median, but not all.

        The highest of tonight's runs (from the last look on, the second highest) is below the
        tolerance by a standard deviation, or by two where the verdict comes early.
        """
        tonight = np.where(np.isfinite(self._tonight()), self._tonight(), -np.inf)
        ordered = np.sort(tonight, axis=-1)
        second = ordered[..., -2] if ordered.shape[-1] > 1 else ordered[..., -1]
        allowed = (count >= min(_EARLY)) & (not early)
        highest = np.where(allowed, second, ordered[..., -1]) - median(self._base)
        sds = 2.0 if early else 1.0
        return np.asarray(highest + sds * np.sqrt(self._variance) < self._policy.log_tolerance)

    def _passes(self, shift: Floats, error: Floats, df: Floats, *, share: float = 0.5) -> Mask:
        policy = self._policy
        lower = shift - t_quantile(share * policy.family_alpha, df) * error
        return np.asarray((lower > policy.log_margin) & (shift > _CLOSE * policy.log_margin))

    def _effects(self, *, to_fail: bool = False) -> tuple[Floats, Floats, Floats, Floats]:
        """Return shift, standard error, degrees of freedom and runs of (nights, cells)."""
        tonight = self._tonight()
        count = np.isfinite(tonight).sum(axis=-1).astype(np.float64)
        runs = np.maximum(count, 1.0)
        shift = hodges_lehmann(tonight, self._base)
        share, noisier = self._shared(tonight, count)
        level = np.nanmean(np.stack(self._level_errors[1:] or self._level_errors, -1), -1)
        per_run = noisier[:, None] * (1 + np.nan_to_num(level)[:, None])
        least = _SHARED_TO_FAIL if to_fail else 0.0
        share = np.maximum(np.maximum(share[:, None], self._common), least)
        spread = share + (1 - share) * per_run / runs + 1 / self._base_runs
        return shift, np.sqrt(self._variance * spread), self._df, runs

    def _tonight(self) -> Floats:
        """Return (nights, cells, runs): the fresh runs; the first where there is none."""
        tonight = np.stack(self._runs[1:] or self._runs, axis=-1)
        tonight[..., 0] = np.where(np.isnan(tonight).all(-1), self._runs[0], tonight[..., 0])
        return tonight

    def _shared(self, tonight: Floats, count: Floats) -> tuple[Floats, Floats]:
        """Return (nights,): the share of the variance that is tonight's, and how noisy it is.

        Measuring again does not average the one; the other is above 1 on a noisier night.
        """
        floor = _SHARED if self.separates else _SHARED_TOGETHER
        repeated = count >= 2
        asked = repeated & (self._codes != PASS)  # the others are controls
        middle = median(tonight)
        squares = np.where(np.isfinite(tonight), np.square(tonight - middle[..., None]), 0.0)
        ratio = squares.sum(axis=-1) / np.maximum(count - 1, 1) / self._variance
        ratio = np.minimum(np.where(repeated, ratio, 0.0), 4.0)
        pooled = partial(pooled_ratio, ratio, separates=self.separates)
        of_asked = pooled(np.where(asked, count - 1, 0.0))
        shared = 1 - np.minimum(of_asked, pooled(np.where(repeated, count - 1, 0.0)))
        return np.maximum(floor, shared), np.maximum(1.0, of_asked)

    def _level(self, relative: Floats) -> tuple[Floats, Floats]:
        """Return (nights,) the run's level, and its variance over that of one cell."""
        nights = len(relative)
        if not self.separates:
            return np.zeros(nights), np.zeros(nights)
        measured = np.isfinite(relative)
        controls = measured & (self._codes == PASS)
        enough = (controls.sum(axis=-1) >= FEWEST_CELLS)[:, None]
        chosen = np.where(enough, controls, measured) if self._runs else measured
        count = chosen.sum(axis=-1)
        level = median(np.where(chosen, relative, np.nan))
        known = self._night_levels[0] if self._runs else np.zeros(nights)
        few = count < FEWEST_CELLS
        return np.where(few, known, level), _MEDIAN / np.maximum(count, 1)

    def _look_at_machine(self, fail_share: float) -> None:
        shift, error, df, count = self._machine_effects()
        policy = self._policy
        open_nights = self._machine == INCONCLUSIVE
        self._machine[open_nights & self._passes(shift, error, df, share=1.0)] = PASS
        if fail_share:
            open_nights = self._machine == INCONCLUSIVE
            alpha = fail_share * _MACHINE * policy.family_alpha
            reach = t_quantile(alpha, np.minimum(df, tail_df(count))) * error
            lost = (shift + reach < policy.log_tolerance) & (shift < lowest_mode(self._levels))
            self._machine[open_nights & lost] = FAIL

    def _machine_effects(self) -> tuple[Floats, Floats, Floats, Floats]:
        """A night is one sample of the machine's level, however often it is measured."""
        levels = np.stack(self._night_levels[1:] or self._night_levels, axis=-1)
        missing = np.isnan(levels).all(axis=-1)
        levels[missing, 0] = self._night_levels[0][missing]
        count = np.maximum(np.isfinite(levels).sum(axis=-1), 1.0)
        shift = hodges_lehmann(levels, self._levels)
        runs = np.maximum(np.isfinite(self._levels).sum(axis=-1), 1.0)
        own = self._level_variance
        controls = np.nanmean(np.stack(self._level_errors[1:] or self._level_errors, -1), -1)
        noise = np.median(self._variance, axis=-1) * np.nan_to_num(controls) / count
        variance = np.maximum(own, LEAST_SD**2) * (1 + 1 / runs) + noise
        df = np.maximum(runs - 1, 1.0)
        return tuple(v[:, None] for v in (shift, np.sqrt(variance), df, count))  # type: ignore[return-value]

    def _judged(self) -> Decision:
        alpha = (1 - _MACHINE) * self._policy.family_alpha / self._cells
        share = np.maximum(_SHARED if self.separates else _SHARED_TOGETHER, self._common)
        return self._told(self._codes, self._effects(), np.sqrt(self._variance), share, alpha)

    def _machine_judged(self) -> Decision:
        sd = np.sqrt(np.maximum(self._level_variance, LEAST_SD**2))[:, None]
        alpha = _MACHINE * self._policy.family_alpha
        return self._told(self._machine, self._machine_effects(), sd, np.ones_like(sd), alpha)

    def _told(
        self,
        codes: npt.NDArray[np.int8],
        effects: tuple[Floats, Floats, Floats, Floats],
        sd: Floats,
        share: Floats,
        alpha: float,
    ) -> Decision:
        shift, error, df, count = effects
        reach = t_quantile(alpha, np.minimum(df, tail_df(count))) * error
        upper = shift + reach
        base_runs = self._base_runs if shift.shape == self._base_runs.shape else np.ones(1)
        alphas = (self._policy.family_alpha / 2, alpha)
        needed = needed_variance(sd, df, alphas, self._policy)
        # Of the variance, ``share`` is there once a night; the rest shrinks with its runs.
        spare = needed - share
        return Decision(
            codes=codes,
            effects=Effects(mean=shift, standard_error=error, df=df, sd=sd),
            lower=shift - reach,
            upper=upper,
            suspicious=(upper < self._policy.log_tolerance) & (codes == INCONCLUSIVE),
            runs_needed=count_runs((spare - 1 / base_runs) / np.maximum(1 - share, 1e-9)),
            runs_on_both=count_runs(spare / (2 - share)),
        )
