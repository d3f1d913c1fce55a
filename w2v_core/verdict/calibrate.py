"""The gate measures itself: false alarms and power, by the code that judges.

Nights are simulated from a given (or recorded, see calibrate_recorded.py) variance and put through
decide.py, thousands at once: pairs through screen and confirmation, single runs through the
comparison with a baseline's runs. A slowdown is planted by adding its logarithm to one cell's pairs
or runs, which is what a slower installation does to every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import special  # not scipy.stats, whose import takes longer than a verdict

from w2v_core.config import MIN_PAIRS, MOST_RUNS, parse_count
from w2v_core.errors import ConfigError
from w2v_core.verdict.decide import FAIL, INCONCLUSIVE, PASS, Policy, decide_night
from w2v_core.verdict.night import Nights
from w2v_core.verdict.statistics import Floats

Noise = Literal["normal", "t3", "ar1", "recorded"]
NOISES: tuple[Noise, ...] = get_args(Noise)

Codes = npt.NDArray[np.int8]
Asked = npt.NDArray[np.bool_]

PLANTED = 0.03  # the slowdown that `power_at_3_percent` is about
_AUTOCORRELATION = 0.5  # of "ar1"
_CHUNK = 500  # nights at once: 24 cells x 64 differences x 8 bytes x 500 is 6 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Error rates of the gate over simulated nights; fractions."""

    nights: int
    cells: int
    pairs: int
    """Per stage: as many again confirm; or the most runs of a night, against ``baseline_runs``."""
    pair_sd: tuple[float, ...]
    """Standard deviation of a pair's log ratio (of a run's log RTFx), one value, or one a cell."""
    noise: Noise
    margin: float
    tolerance: float
    family_alpha: float
    family_false_alarm_rate: float
    """Nights without a slowdown in which any cell failed."""
    family_false_alarm_upper: float
    """Upper 95 % confidence bound of that rate (Clopper and Pearson 1934)."""
    power_at_3_percent: float
    """Nights in which the cell that lost 3 % failed."""
    power_lower: float
    """Lower 95 % confidence bound of the power."""
    missed_at_3_percent: float
    """Nights in which the cell that lost 3 % passed; the rest are inconclusive."""
    null_pass_rate: float
    """Nights without a slowdown in which every cell passed."""
    confirmed_rate: float
    """Nights without a slowdown that needed the confirmation."""
    seed: int
    baseline_runs: int = 0
    """Runs of the baseline; 0 where pairs were judged."""
    further_runs: float = 0.0
    """Fresh runs that a null night asks for beyond its first, on average; 0 for pairs."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {**asdict(self), "pair_sd": list(self.pair_sd)}


def simulate_nights(
    *,
    nights: int = 1000,
    cells: int = 24,
    pairs: int = 5,
    pair_sd: float | Sequence[float] = 0.007,
    noise: Noise = "normal",
    policy: Policy | None = None,
    seed: int = 0,
    recorded: Floats | None = None,
) -> Calibration:
    """Put simulated nights through the gate; blocks for about a second per 1,000 of 24 cells.

    Args:
        nights: Null nights, and as many again with a planted slowdown.
        cells: Cells a night.
        pairs: Pairs per stage.
        pair_sd: Standard deviation of a pair's log ratio; one value, or one a cell.
        noise: ``t3`` has heavy tails, ``ar1`` neighbouring pairs correlated by 0.5, ``recorded``
            draws from ``recorded``.
        policy: Margins and error rates; by default Policy's.
        seed: Of the generator.
        recorded: (residuals,) of unit variance.

    Raises:
        ConfigError: a count below its limit, or deviations that are not one per cell.
    """
    policy = policy if policy is not None else Policy()
    parse_count("nights", nights)
    parse_count("pairs", pairs, least=MIN_PAIRS)
    sds = _deviations(pair_sd, parse_count("cells", cells))
    generator = np.random.default_rng(seed)

    def draw(size: int, planted: float) -> Floats:
        shape = (size, cells, 2 * pairs)
        values = draw_noise(generator, noise, shape, recorded=recorded) * sds[:, None]
        values[:, 0, :] += planted
        return values

    def decide(values: Floats) -> tuple[Codes, Asked]:
        return decide_night(values[..., :pairs], values[..., pairs:], policy)

    rates = _rates(_judge_nights(draw, decide, nights), nights)
    drawn = {"cells": cells, "pairs": pairs, "noise": noise, "seed": seed}
    return _calibration(policy, sds, rates, nights=nights, **drawn)


def simulate_runs(
    *,
    nights: int = 1000,
    baseline_runs: int,
    most_runs: int = MOST_RUNS,
    run_sd: Sequence[float],
    noise: Noise = "normal",
    policy: Policy | None = None,
    seed: int = 0,
) -> Calibration:
    """Put simulated nights against a baseline through the gate, each confirmed as it asks to be.

    Blocks for about 2 seconds per 1,000 nights of 24 cells.

    Args:
        nights: Null nights, and as many again with a planted slowdown.
        baseline_runs: Runs of every cell in the baseline, drawn anew for each night.
        most_runs: Fresh runs that a night may ask for beyond its first; 0 judges the first alone.
        run_sd: Standard deviation of a run's log RTFx, one a cell.
        noise: As in simulate_nights(), of runs.
        policy: Margins and error rates; by default Policy's.
        seed: Of the generator.

    Raises:
        ConfigError: a count below its limit, or a deviation that is none.
    """
    policy = policy if policy is not None else Policy()
    parse_count("nights", nights)
    sds = _deviations(run_sd, parse_count("cells", len(run_sd)))
    generator = np.random.default_rng(seed)
    asked_for: list[Floats] = []

    def draw(size: int, planted: float) -> Floats:
        shape = (size, len(sds), baseline_runs + 1 + most_runs)
        values = draw_noise(generator, noise, shape) * sds[:, None]
        values[:, 0, baseline_runs:] += planted
        return values

    def decide(values: Floats) -> tuple[Codes, Asked]:
        codes, extra = judge_runs(
            values[..., :baseline_runs], values[..., baseline_runs:], policy=policy
        )
        asked_for.append(extra)
        return codes, extra > 0

    rates = _rates(_judge_nights(draw, decide, nights), nights)
    rates["further_runs"] = float(np.concatenate(asked_for[::2]).mean())  # of the null nights
    rates["baseline_runs"] = baseline_runs
    drawn = {"cells": len(sds), "pairs": 1 + most_runs, "noise": noise, "seed": seed}
    return _calibration(policy, sds, rates, nights=nights, **drawn)


def _calibration(
    policy: Policy,
    sds: Floats,
    rates: dict[str, Any],
    *,
    nights: int,
    **drawn: Any,  # noqa: ANN401
) -> Calibration:
    return Calibration(
        nights=nights,
        pair_sd=tuple(float(sd) for sd in sds),
        margin=policy.margin,
        tolerance=policy.tolerance,
        family_alpha=policy.family_alpha,
        **drawn,
        **rates,
    )


def judge_runs(
    baseline: Floats, tonight: Floats, *, policy: Policy
) -> tuple[npt.NDArray[np.int8], Floats]:
    """Judge nights run by run, as they ask for fresh runs.

    Args:
        baseline: (nights, cells, runs) log throughputs.
        tonight: (nights, cells, 1 + most) of the first run and of those that may be asked for.
        policy: What to decide by.

    Returns:
        (nights, cells) codes, with the machine's behind them where it is judged, and (nights,)
        fresh runs that were made.
    """
    most = tonight.shape[-1] - 1
    sequence = Nights(baseline, policy, most_runs=most)
    sequence.add(tonight[..., 0])
    extra = np.zeros(len(tonight))
    for run in range(1, most + 1):
        asked = sequence.asked()
        if not asked.any():
            break
        extra += asked.any(axis=-1)
        sequence.add(np.where(asked, tonight[..., run], np.nan))
    decided = sequence.decide()
    codes = np.concatenate([d.codes for d in decided], axis=-1)
    shift = np.concatenate([d.effects.mean for d in decided], axis=-1)
    undecided_loss = (codes == INCONCLUSIVE) & (shift <= policy.log_undecided_loss)
    return np.where(undecided_loss, np.int8(FAIL), codes), extra


def _deviations(pair_sd: float | Sequence[float], cells: int) -> Floats:
    sds = np.atleast_1d(np.asarray(pair_sd, dtype=np.float64))
    if sds.size not in (1, cells):
        raise ConfigError(f"pair_sd has {sds.size} values for {cells} cells; give one, or one each")
    if not np.all(np.isfinite(sds)) or np.any(sds < 0):
        raise ConfigError(f"pair_sd is {pair_sd}; give fractions, 0.007 is 0.7 %")
    return sds


def _judge_nights(
    draw: Callable[[int, float], Floats],
    decide: Callable[[Floats], tuple[Codes, Asked]],
    nights: int,
) -> tuple[int, ...]:
    """Judge null nights, and as many in which cell 0 is slower.

    Returns:
        Counts of false alarms, null nights that passed, null nights that were confirmed, slowdowns
        that were found, and slowdowns that passed.
    """
    counts = np.zeros(5, dtype=np.int64)
    for start in range(0, nights, _CHUNK):
        size = min(_CHUNK, nights - start)
        codes, asked = decide(draw(size, 0.0))
        planted, _ = decide(draw(size, float(np.log1p(-PLANTED))))
        counts += (
            (codes == FAIL).any(axis=-1).sum(),
            (codes == PASS).all(axis=-1).sum(),
            asked.sum(),
            (planted[:, 0] == FAIL).sum(),
            (planted[:, 0] == PASS).sum(),
        )
    return tuple(int(count) for count in counts)


def _rates(counts: tuple[int, ...], nights: int) -> dict[str, Any]:
    alarms, passes, confirmed, found, missed = counts
    return {
        "family_false_alarm_rate": alarms / nights,
        "family_false_alarm_upper": _upper(alarms, nights),
        "power_at_3_percent": found / nights,
        "power_lower": 1.0 - _upper(nights - found, nights),
        "missed_at_3_percent": missed / nights,
        "null_pass_rate": passes / nights,
        "confirmed_rate": confirmed / nights,
    }


def draw_noise(
    generator: np.random.Generator,
    noise: Noise,
    shape: tuple[int, ...],
    *,
    recorded: Floats | None = None,
) -> npt.NDArray[np.float64]:
    """Draw noise of unit variance; the last axis is time."""
    if noise == "t3":
        return np.asarray(generator.standard_t(3, shape) / np.sqrt(3.0))
    if noise == "recorded":
        if recorded is None or recorded.size == 0:
            raise ConfigError("noise 'recorded' needs recorded residuals")
        return np.asarray(generator.choice(recorded, shape))
    values = generator.standard_normal(shape)
    if noise == "ar1":
        for step in range(1, shape[-1]):
            values[..., step] *= np.sqrt(1.0 - _AUTOCORRELATION**2)
            values[..., step] += _AUTOCORRELATION * values[..., step - 1]
    return values


def _upper(count: int, total: int) -> float:
    """Return the one-sided upper 95 % bound of a rate."""
    return 1.0 if count >= total else float(special.betaincinv(count + 1, total - count, 0.95))
