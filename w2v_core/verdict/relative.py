"""Release against release: every cell's ratio with its interval, and what may be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from w2v_core.errors import ConfigError
from w2v_core.printable import printable, shorten
from w2v_core.records.fingerprint import difference, place
from w2v_core.records.record import CellRecord
from w2v_core.records.store import Session
from w2v_core.verdict.decide import VERDICTS, Policy, Verdict, worst
from w2v_core.verdict.evidence import UNDECIDED_LOSS
from w2v_core.verdict.fitness import by_cell, changed_parameters, unfit_record, unfit_runs
from w2v_core.verdict.relative_outcome import INTERVAL_LEVEL, CellComparison, Comparison, Matrix
from w2v_core.verdict.soundness import transcripts_key
from w2v_core.verdict.statistics import (
    Effects,
    Floats,
    lower_bound,
    p_below,
    stratified_effects,
    upper_bound,
)
from w2v_core.verdict.wer import ceiling_finding, compare_wer, shared_alpha

_NAME_CHARS = 80
_CELL_CHARS = 200
_REASON_CHARS = 1000


def compare(
    a: Sequence[CellRecord],
    b: Sequence[CellRecord],
    *,
    names: tuple[str, str] | None = None,
    sessions: tuple[Session | None, Session | None] = (None, None),
    policy: Policy | None = None,
) -> Comparison:
    """Compare two releases; every record is one run of one cell.

    Args:
        a: Records of the reference release.
        b: Records of the release that is judged.
        names: What to call them; their ``release`` where it is left out.
        sessions: What the test sessions of either side know.
        policy: Margins and error rates; the defaults of Policy where it is left out.

    Raises:
        ConfigError: a side without a record.
    """
    policy = policy if policy is not None else Policy()
    if not a or not b:
        raise ConfigError(f"{len(a)} records against {len(b)}; both sides need at least one run")
    sides = (by_cell(a), by_cell(b))
    cells = sorted(set(sides[0]) | set(sides[1]))
    shared = _unfit_sides(a, b, sessions)
    unfit = {c: (*shared, *_unfit(*(side.get(c, []) for side in sides))) for c in cells}
    fit = [cell for cell in cells if not unfit[cell]]
    pairs = {cell: (sides[0][cell], sides[1][cell]) for cell in fit}
    judged = _judge_speed(stratified_effects(pairs.values()), policy, family=len(cells))
    wer_alpha = shared_alpha(
        [(old[-1], new[-1]) for old, new in pairs.values()], policy.family_alpha
    )
    rows = [_missing(cell, sides, unfit[cell]) for cell in cells if unfit[cell]]
    rows += [
        _cell(cell, *pairs[cell], speed=speed, policy=policy, alpha=wer_alpha)
        for cell, speed in zip(fit, judged, strict=True)
    ]
    rows.sort(key=lambda c: (-VERDICTS.index(c.verdict), c.ratio or 0.0, c.cell))
    first, last = _newest(a).environment, _newest(b).environment
    named = names if names is not None else (_newest(a).release, _newest(b).release)
    return Comparison(
        name_a=printable(shorten(named[0], _NAME_CHARS)),
        name_b=printable(shorten(named[1], _NAME_CHARS)),
        cells=tuple(rows),
        environment=difference(first, last),
        fields_compared=len(set(first) | set(last)),
        attribution=_attribution(a, b),
        policy=policy,
    )


def compare_many(
    releases: Mapping[str, Sequence[CellRecord]],
    *,
    sessions: Mapping[str, Session | None] | None = None,
    policy: Policy | None = None,
) -> Matrix:
    """Compare every release with the first one.

    Raises:
        ConfigError: fewer than two releases, or one without a record.
    """
    names = tuple(releases)
    if len(names) < 2:
        raise ConfigError(f"{len(names)} releases; give at least two")
    first, known = releases[names[0]], sessions if sessions is not None else {}
    return Matrix(
        releases=names,
        comparisons=tuple(
            compare(
                first,
                releases[name],
                names=(names[0], name),
                sessions=(known.get(names[0]), known.get(name)),
                policy=policy,
            )
            for name in names[1:]
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speed:
    ratio: float
    lower: float | None
    upper: float | None
    p_holm: float | None
    verdict: Verdict
    reason: str


def _judge_speed(effects: Effects, policy: Policy, *, family: int) -> list[_Speed]:
    """Judge every cell's ratio; FAIL by Holm's procedure, PASS by a simultaneous lower bound."""
    shown = (1.0 - INTERVAL_LEVEL) / 2
    lower, upper = lower_bound(effects, shown), upper_bound(effects, shown)
    excluded = lower_bound(effects, policy.family_alpha / family) > policy.log_margin
    adjusted = _holm(p_below(effects, policy.log_tolerance), family=family)
    judged = []
    for i, mean in enumerate(effects.mean):
        known = bool(np.isfinite(effects.standard_error[i]))
        verdict: Verdict = "INCONCLUSIVE"
        reason = "neither a loss is shown, nor one of the margin excluded; more runs would decide"
        if not known:
            reason = "no side was run twice, so nothing says how much runs vary; run each again"
        elif excluded[i]:
            verdict, reason = "PASS", f"a loss of {policy.margin * 100:g} % is excluded"
        elif adjusted[i] <= policy.family_alpha:
            verdict, reason = "FAIL", f"slower by {-np.expm1(mean) * 100:.2g} %"
        if verdict == "INCONCLUSIVE" and mean <= policy.log_undecided_loss:
            lost = f"slower by {-np.expm1(mean) * 100:.2g} %"
            verdict, reason = "FAIL", f"{UNDECIDED_LOSS}: {lost}; {reason}"
        judged.append(
            _Speed(
                ratio=float(np.exp(mean)),
                lower=float(np.exp(lower[i])) if known else None,
                upper=float(np.exp(upper[i])) if known else None,
                p_holm=float(adjusted[i]) if known else None,
                verdict=verdict,
                reason=reason,
            )
        )
    return judged


def _holm(p_values: Floats, *, family: int) -> Floats:
    """Adjust p values by Holm (Scand. J. Statist. 6, 1979); unknown ones count as 1."""
    known = np.where(np.isnan(p_values), 1.0, p_values)
    order = np.argsort(known)
    steps = (family - np.arange(known.size)) * known[order]
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _cell(
    cell: str,
    a: Sequence[CellRecord],
    b: Sequence[CellRecord],
    *,
    speed: _Speed,
    policy: Policy,
    alpha: float,
) -> CellComparison:
    old, new = a[-1], b[-1]
    compared = compare_wer(old, new, margin=policy.wer_margin, alpha=alpha)
    ceiling = ceiling_finding(new)
    findings = [*([compared[1]] if compared else []), *([ceiling] if ceiling is not None else [])]
    verdict = worst(speed.verdict, *(f.verdict for f in findings))
    told = [("throughput", speed.verdict, speed.reason)]
    told += [(f.kind, f.verdict, f.reason) for f in findings]
    return CellComparison(
        cell=printable(shorten(cell, _CELL_CHARS)),
        verdict=verdict,
        reasons=tuple(f"{kind}: {reason}" for kind, found, reason in told if found == verdict),
        runs_a=len(a),
        runs_b=len(b),
        rtfx_a=_geometric_mean(a),
        rtfx_b=_geometric_mean(b),
        ratio=speed.ratio,
        ratio_lower=speed.lower,
        ratio_upper=speed.upper,
        p_slower=speed.p_holm,
        latency_a_s=_latency(a),
        latency_b_s=_latency(b),
        wer=compared[0] if compared else None,
        graph_captures=(old.graph_captures, new.graph_captures),
        captures_timed=(old.captures_timed, new.captures_timed),
        compilations_timed=(old.compilations_timed, new.compilations_timed),
        cpu_fallbacks_timed=(old.cpu_fallbacks_timed, new.cpu_fallbacks_timed),
        warm_up_s=(old.warm_up_s, new.warm_up_s),
        peak_memory_bytes=(old.peak_memory_bytes, new.peak_memory_bytes),
        energy_j=(old.energy_j, new.energy_j),
    )


def _missing(
    cell: str, sides: tuple[Mapping[str, list[CellRecord]], ...], reasons: tuple[str, ...]
) -> CellComparison:
    """Return the row of a cell that cannot be compared; b's own faults fail it."""
    faulty = [r for r in reasons if r.startswith("b: ")]
    return CellComparison(
        cell=printable(shorten(cell, _CELL_CHARS)),
        verdict="FAIL" if faulty else "INCONCLUSIVE",
        reasons=tuple(f"integrity: {printable(shorten(r, _REASON_CHARS))}" for r in reasons),
        runs_a=len(sides[0].get(cell, [])),
        runs_b=len(sides[1].get(cell, [])),
    )


def _unfit_sides(
    a: Sequence[CellRecord],
    b: Sequence[CellRecord],
    sessions: tuple[Session | None, Session | None],
) -> tuple[str, ...]:
    """Say why nothing of two sides can be compared, such as a copied run; empty where they can."""
    stood = {(r.run_id, r.cell) for r in a}
    others = [r for r in b if (r.run_id, r.cell) not in stood]
    found = [
        *((f"a: {f.reason}") for f in unfit_runs(a, sessions[0])),
        *((f"b: {f.reason}") for f in unfit_runs(b, sessions[1])),
        *((f"not comparable, {f.reason}") for f in unfit_runs([*a, *others])),
    ]
    return tuple(found)


def _unfit(a: Sequence[CellRecord], b: Sequence[CellRecord]) -> tuple[str, ...]:
    """Say why a cell of two releases cannot be compared; empty where it can."""
    if not a or not b:
        return (f"not measured in {'a' if not a else 'b'}",)
    reasons, counted = [], set[int]()
    for name, records in (("a", a), ("b", b)):
        for record in records:
            key = transcripts_key(record)
            found = unfit_record(record, recount=key not in counted)
            counted.add(key)
            reasons += [f"{name}: {finding.reason}" for finding in found]
    both = sorted({r.run_id for r in a} & {r.run_id for r in b})
    if both:
        reasons.append(f"not comparable, run {both[0]} stands on either side")
    for record in (*a, *b):
        reasons += [f"not comparable, {r}" for r in changed_parameters(record, a[0])]
    return tuple(dict.fromkeys(reasons))


def _attribution(a: Sequence[CellRecord], b: Sequence[CellRecord]) -> str:
    """Say why a difference may be the host's or the card's; empty where both ran on all."""
    places_a, places_b = ({place(r.environment) for r in side} for side in (a, b))
    if places_a == places_b:
        return ""
    only_a, only_b = sorted(places_a - places_b), sorted(places_b - places_a)
    fields: list[str] = []
    if only_a and only_b:
        one, other = dict(only_a[0]), dict(only_b[0])
        fields = [n for n in sorted({*one, *other}) if one.get(n) != other.get(n)]
    what = f" ({', '.join(fields)} differ)" if fields else ""
    return f"host or card differ{what}; run both releases on both"


def _newest(records: Sequence[CellRecord]) -> CellRecord:
    return max(records, key=lambda r: (r.created_utc, r.run_id))


def _geometric_mean(records: Sequence[CellRecord]) -> float:
    return float(np.exp(np.mean([np.log(r.rtfx) for r in records])))


def _latency(records: Sequence[CellRecord]) -> dict[str, float]:
    names = sorted(set.intersection(*(set(r.latency_s) for r in records)))
    return {name: median(r.latency_s[name] for r in records) for name in names}
