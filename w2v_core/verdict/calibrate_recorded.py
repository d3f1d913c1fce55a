"""Error rates of the gate for recorded noise: that of pairs, of a history, or of a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from w2v_core.config import MOST_RUNS, parse_count
from w2v_core.errors import ConfigError
from w2v_core.records.history_table import Night
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.calibrate import Calibration, simulate_nights, simulate_runs
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.paired import Pair, log_ratios
from w2v_core.verdict.statistics import Floats, moderate, paired_effects

_FEWEST = 3  # runs or pairs; fewer say nothing about a deviation


def calibrate_from_pairs(
    pairs: Sequence[Pair], *, nights: int = 1000, policy: Policy | None = None, seed: int = 0
) -> Calibration:
    """Simulate nights with the variance and the residuals of recorded A/A pairs.

    Args:
        pairs: Pairs of one installation with itself, at least three; all with the same cells.
        nights: Null nights, and as many again with a planted slowdown.
        policy: Margins and error rates.
        seed: Of the generator.

    Raises:
        ConfigError: too few pairs, or pairs without a common cell.
    """
    parse_count("pairs", len(pairs), least=_FEWEST)
    sides = [{r.cell for r in side} for p in pairs for side in (p.a, p.b)]
    cells = sorted(set.intersection(*sides))
    if not cells:
        raise ConfigError(f"{len(pairs)} pairs have no cell in common; run the same cells")
    ratios = log_ratios(pairs, cells)
    effects = paired_effects(ratios)
    residuals = (ratios - ratios.mean(axis=-1, keepdims=True)) / np.maximum(effects.sd, 1e-12)[
        :, None
    ]
    spread = float(residuals.std())
    return simulate_nights(
        nights=nights,
        cells=len(cells),
        pairs=len(pairs),
        pair_sd=[float(sd) for sd in effects.sd],
        noise="recorded" if spread > 0 else "normal",
        policy=policy,
        seed=seed,
        recorded=residuals.ravel() / spread if spread > 0 else None,
    )


def calibrate_from_nights(
    history: Mapping[str, Sequence[Night]],
    *,
    pairs: int = 5,
    nights: int = 1000,
    policy: Policy | None = None,
    seed: int = 0,
) -> Calibration:
    """Simulate nights with the variance between the recorded runs of each cell.

    A pair's two runs are taken to be as different as two nights are, hence sqrt(2) times the
    deviation of a night: an upper bound, as what the runs of a pair share cancels.

    Args:
        history: Valid runs by cell, at least three each (``History.nights``).
        pairs: Pairs per stage.
        nights: Null nights, and as many again with a planted slowdown.
        policy: Margins and error rates.
        seed: Of the generator.

    Raises:
        ConfigError: no cell has three runs.
    """
    logs = [np.log([n.rtfx for n in runs]) for runs in history.values() if len(runs) >= _FEWEST]
    if not logs:
        raise ConfigError(f"no cell of the history has {_FEWEST} valid runs; run the suite more")
    return simulate_nights(
        nights=nights,
        cells=len(logs),
        pairs=pairs,
        pair_sd=[float(np.sqrt(2.0) * sd) for sd in _deviations(logs)],
        policy=policy,
        seed=seed,
    )


def calibrate_from_baseline(
    baseline: Baseline,
    *,
    most_runs: int | None = None,
    nights: int = 400,
    policy: Policy | None = None,
) -> Calibration:
    """Simulate nights whose runs vary as the baseline's own do, judged and confirmed against it.

    These are the error rates of ``--baseline`` and ``w2v gate``, where the noise stays what it was.
    """
    logs = [np.asarray(baseline.log_rtfx(cell)) for cell in sorted(baseline.cells)]
    return simulate_runs(
        nights=nights,
        baseline_runs=min(len(values) for values in logs),
        most_runs=MOST_RUNS if most_runs is None else most_runs,
        run_sd=[float(sd) for sd in _deviations(logs)],
        policy=policy,
    )


def _deviations(logs: Sequence[Floats]) -> Floats:
    """Return the moderated standard deviation of each cell's values."""
    variances = np.asarray([values.var(ddof=1) for values in logs])
    moderated, _ = moderate(variances, np.asarray([len(values) - 1.0 for values in logs]))
    return np.sqrt(moderated)
