"""From decisions, which are arrays, to the evidence on one cell and the finding in words."""

from __future__ import annotations

import numpy as np

from w2v_core.verdict.decide import VERDICTS, Decision, Policy, Verdict
from w2v_core.verdict.outcome import Finding, Throughput

UNDECIDED_LOSS = "UNDECIDED LOSS"
"""Starts the reason of a red finding on a loss that the noise cannot exclude to be none."""


def evidence(
    decision: Decision, index: int, *, runs: int, baseline_runs: int, policy: Policy
) -> tuple[Throughput, Finding]:
    """Return the evidence on cell ``index`` of one night, and its finding.

    Args:
        decision: Of one night, (cells,) arrays.
        index: The cell.
        runs: Candidate runs, or pairs, that it has.
        baseline_runs: Runs on the other side; 0 for pairs.
        policy: What was decided by.
    """
    needed, both = float(decision.runs_needed[index]), float(decision.runs_on_both[index])
    verdict = VERDICTS[int(decision.codes[index])]
    throughput = Throughput(
        ratio=float(np.exp(decision.effects.mean[index])),
        lower=float(np.exp(decision.lower[index])),
        upper=float(np.exp(decision.upper[index])),
        run_sd=float(decision.effects.sd[index]),
        runs=runs,
        baseline_runs=baseline_runs,
        further_runs=max(1, int(needed) - runs) if np.isfinite(needed) else None,
        suspicious=bool(decision.suspicious[index]),
        runs_on_both=int(both) if np.isfinite(both) else None,
    )
    reason = _told(throughput, verdict, policy)
    if is_undecided_loss(decision, index, policy):
        verdict, reason = "FAIL", f"{UNDECIDED_LOSS}: {reason}"
    return throughput, Finding(kind="throughput", verdict=verdict, reason=reason)


def is_undecided_loss(decision: Decision, index: int, policy: Policy) -> bool:
    """Whether a loss is too large to be left open, though the noise could be as large."""
    is_open = VERDICTS[int(decision.codes[index])] == "INCONCLUSIVE"
    shift = float(decision.effects.mean[index])
    return is_open and shift <= policy.log_undecided_loss


def machine_evidence(decision: Decision, *, cells: int, policy: Policy) -> Finding:
    """Return the finding on what all cells of a night share; their own changes stand beside it."""
    verdict = VERDICTS[int(decision.codes[0])]
    change = float(np.expm1(decision.effects.mean[0])) * 100
    lower, upper = (float(np.expm1(v[0])) * 100 for v in (decision.lower, decision.upper))
    pace = f"{abs(change):.2g} % {'slower' if change < 0 else 'faster'}"
    told = f"this machine is {pace} tonight [{lower:+.2f}, {upper:+.2f}] % over all {cells} cells"
    if verdict == "PASS":
        told += f"; a loss of {policy.margin * 100:g} % is excluded"
    if verdict == "INCONCLUSIVE":
        sd = float(decision.effects.sd[0]) * 100
        told += f"; from night to night it varies by {sd:.2g} % in the baseline"
    if is_undecided_loss(decision, 0, policy):
        return Finding(kind="machine", verdict="FAIL", reason=f"{UNDECIDED_LOSS}: {told}")
    return Finding(kind="machine", verdict=verdict, reason=told)


def _told(found: Throughput, verdict: Verdict, policy: Policy) -> str:
    change = (found.ratio - 1) * 100
    interval = f"[{(found.lower - 1) * 100:+.2f}, {(found.upper - 1) * 100:+.2f}] %"
    measured = f"throughput {change:+.2f} % {interval} over {found.runs} {_unit(found)}"
    if verdict == "PASS":
        return f"{measured}; a loss of {policy.margin * 100:g} % is excluded"
    if verdict == "FAIL":
        return f"{measured}; slower by more than the tolerance of {policy.tolerance * 100:g} %"
    if not np.isfinite(found.run_sd):
        return f"{measured}; no side was run twice, so nothing says how much runs vary"
    if found.suspicious and not found.baseline_runs:
        return f"{measured}; looks slower, fresh pairs have to confirm it"
    if found.further_runs is None:
        spread = f"{_unit(found)} vary by {found.run_sd * 100:.2g} %"
        remedy = "more of them would not decide: quieten the machine"
        if found.runs_on_both is not None:
            remedy = f"{found.runs_on_both} on either side would decide: approve a larger baseline"
        return f"{measured}; {spread}; {remedy}"
    return f"{measured}; {found.further_runs} further {_unit(found)} would decide"


def _unit(found: Throughput) -> str:
    return "runs" if found.baseline_runs else "pairs"
