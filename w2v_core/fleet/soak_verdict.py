"""What speaks against the passes of a soak: other ids or weights, lost utterances, speed, growth.

No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from w2v_core.fleet.frames import Disagreement, Frames, disagreements
from w2v_core.fleet.passes import CellPass, Pass
from w2v_core.fleet.steady import LEAST_PASSES, LIMITS, Slope, judged_from, slope_of, slowest_block
from w2v_core.fleet.verdict import CardCell
from w2v_core.fleet.weights import WeightDifference, Weights, compare_weights
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import Finding, failed, ranked

SUSPECT = "suspect of silent data corruption"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSoak:
    """What one card did."""

    card: str
    passes: tuple[Pass, ...] = field(repr=False)
    frames: Mapping[str, Frames] = field(repr=False)
    """Of the first pass, by cell."""
    weights: Mapping[str, Weights] = field(default_factory=dict, repr=False)
    """As the first process loaded them, by cell."""
    device: str = ""
    """Its kind."""
    software: str = ""
    """Of the first process, JSON (passes.SOFTWARE); cards of the same are compared."""
    problems: tuple[str, ...] = ()
    """Why processes ended before their last pass."""

    @property
    def processes(self) -> dict[str, list[Pass]]:
        """The passes of each process, in their order."""
        found: dict[str, list[Pass]] = {}
        for one in self.passes:
            found.setdefault(one.process, []).append(one)
        return found

    def of(self, cell: str) -> list[tuple[Pass, CellPass]]:
        """Return the passes of a cell."""
        return [(one, c) for one in self.passes for c in one.cells if c.cell == cell]


def judge_soak(
    cards: Sequence[CardSoak], *, policy: Policy | None = None
) -> tuple[tuple[CardCell, ...], dict[str, dict[str, Slope]]]:
    """Judge each cell of each card, and each card's process (as a cell of the name ``process``).

    Returns:
        The verdicts, and by card and level the slope in the process with most passes.
    """
    policy = policy or Policy()
    cells = dict.fromkeys(c.cell for card in cards for one in card.passes for c in one.cells)
    across = {cell: _across(cards, cell) for cell in cells}
    tests = max(1, len(cards) * (len(LIMITS) + len(cells)))
    alpha = policy.family_alpha / tests
    judged, slopes = [], {}
    for card in cards:
        judged += [
            _judge_cell(card, cell, across[cell], alpha=alpha, policy=policy)
            for cell in cells
            if card.of(cell)
        ]
        slopes[card.card], findings = _judge_levels(card, alpha=alpha)
        findings += [failed("integrity", f"its process {problem}") for problem in card.problems]
        judged.append(
            CardCell(card=card.card, cell="process", records=(), findings=ranked(findings))
        )
    return tuple(judged), slopes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Across:
    """What cards with the same software say of each other's beginning, of one cell."""

    wrong: list[Disagreement]
    """First passes' frame ids."""
    altered: list[WeightDifference]
    """Loaded weights."""
    undecided: Mapping[str, list[str]]
    """By card, what has no majority, in words."""


def _across(cards: Sequence[CardSoak], cell: str) -> _Across:
    """Hold the beginnings of cards with the same software against each other."""
    groups: dict[str, list[CardSoak]] = {}
    for card in cards:
        groups.setdefault(card.software, []).append(card)
    found = _Across(wrong=[], altered=[], undecided={c.card: [] for c in cards})
    for peers in groups.values():
        wrong, ids = disagreements({c.card: c.frames[cell] for c in peers if cell in c.frames})
        altered, tensors = compare_weights(
            {c.card: c.weights[cell] for c in peers if cell in c.weights}
        )
        found.wrong.extend(wrong)
        found.altered.extend(altered)
        told = [
            f"{len(names)} {what}, first {names[0]}"
            for names, what in (
                (ids, "utterances have no majority among the cards' first passes"),
                (tensors, "tensors of weights have no majority among the cards that loaded them"),
            )
            if names
        ]
        for c in peers:
            found.undecided[c.card] += told
    return found


def _judge_cell(
    card: CardSoak,
    cell: str,
    across: _Across,
    *,
    alpha: float,
    policy: Policy,
) -> CardCell:
    passes = card.of(cell)
    others = [d for d in across.wrong if d.card == card.card]
    loaded = [d for d in across.altered if d.card == card.card]
    findings = [*_same(passes), *_whole(passes)]
    for what, found in (("first pass is", others), ("weights as loaded are", loaded)):
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            told = f"its {what} not the other cards': {SUSPECT}: {found[0]}{more}"
            findings.append(failed("integrity", told))
    findings += [
        Finding(kind="integrity", verdict="INCONCLUSIVE", reason=told)
        for told in across.undecided[card.card]
    ]
    findings += _speed(card, cell, alpha=alpha, policy=policy)
    wrong = [d for _, c in passes for d in c.wrong]
    altered = [d for _, c in passes for d in c.altered]
    return CardCell(
        card=card.card,
        cell=cell,
        records=(),
        findings=ranked(findings),
        wrong=(*wrong, *others),
        altered=(*altered, *loaded),
    )


def _same(passes: Sequence[tuple[Pass, CellPass]]) -> list[Finding]:
    """Say whether every pass returned the first one's ids, with the weights that were loaded."""
    found = []
    if wrong := [(one, c) for one, c in passes if c.num_wrong]:
        one, c = wrong[0]
        d = c.wrong[0]
        more = f", and {c.num_wrong - 1} more utterances" if c.num_wrong > 1 else ""
        told = (
            f"{len(wrong)} of {len(passes)} passes returned other frame ids than the first, from "
            f"pass {one.number} on: {d.utterance_id} frame {d.frame}: id {d.own}, the first pass's "
            f"{d.others} ({d.num_frames} frames differ){more}"
        )
        found.append(failed("integrity", told))
    if altered := [(one, c) for one, c in passes if c.num_altered]:
        one, c = altered[0]
        more = f", and {c.num_altered - 1} more tensors" if c.num_altered > 1 else ""
        if c.num_altered_again is not None:
            more += f"; read again at once, {c.num_altered_again} of {c.num_altered} were so"
        told = (
            f"{SUSPECT}: behind {len(altered)} of {len(passes)} passes the device held other "
            f"weights than were loaded, from pass {one.number} on: {c.altered[0]}{more}"
        )
        found.append(failed("integrity", told))
    if found:
        return found
    if len(passes) < 2:
        told = "one pass has nothing to be held against"
        return [Finding(kind="integrity", verdict="INCONCLUSIVE", reason=told)]
    read = sum(c.weights is not None for _, c in passes)
    told = (
        f"all {len(passes)} passes returned the first pass's frame ids; behind {read} of them the "
        "weights were read, and were as loaded"
    )
    return [Finding(kind="integrity", verdict="PASS", reason=told)]


def _whole(passes: Sequence[tuple[Pass, CellPass]]) -> list[Finding]:
    lost = [(one, c) for one, c in passes if c.num_failed]
    if not lost:
        return []
    one, c = lost[0]
    told = f"{len(lost)} passes lost utterances, first pass {one.number}: {c.num_failed}"
    return [failed("integrity", f"{told}: {c.failed[0]}")]


def _speed(card: CardSoak, cell: str, *, alpha: float, policy: Policy) -> list[Finding]:
    findings = []
    for passes in card.processes.values():
        ran = [(o, c) for o in passes for c in o.cells if c.cell == cell and c.rtfx > 0]
        slow = slowest_block([c.rtfx for _, c in ran], alpha=alpha, policy=policy)
        if slow is None:
            continue
        inside = ran[slow.first : slow.last + 1]
        told = (
            f"passes {inside[0][0].number} to {inside[-1][0].number} ran at {slow.ratio:.3f} of "
            f"the first passes' speed, at most {slow.upper:.3f}; {1 - policy.margin:g} is within "
            f"the interval{_heat(ran[: slow.first], inside)}"
        )
        findings.append(failed("throughput", told))
    return findings


def _heat(before: Sequence[tuple[Pass, CellPass]], inside: Sequence[tuple[Pass, CellPass]]) -> str:
    """Say what sensors told before a slow block and in it; empty where none told anything."""
    told = ""
    for name, unit in (("temperature_c", "C"), ("power_w", "W")):
        was, now = (
            [v for _, c in part if (v := getattr(c, name)) is not None] for part in (before, inside)
        )
        if was and now:
            told += f"; {median(was):.0f} {unit} before, {median(now):.0f} {unit} then"
    why = sorted({reason for _, c in inside for reason in c.throttled})
    return told + (f"; clock lowered: {', '.join(why)}" if why else "")


def _judge_levels(card: CardSoak, *, alpha: float) -> tuple[dict[str, Slope], list[Finding]]:
    """Test the levels of each process that made enough passes."""
    longest: dict[str, Slope] = {}
    findings: list[Finding] = []
    processes = sorted(card.processes.values(), key=len, reverse=True)
    alpha /= max(1, len(processes))
    for passes in processes:
        for level, slope in _slopes(passes, alpha=alpha).items():
            longest.setdefault(level, slope)
            if slope.is_leak:
                findings.append(failed("steady-state", _grows(level, slope, passes)))
    if not longest:
        most = len(processes[0]) if processes else 0
        told = f"no process made {LEAST_PASSES} passes ({most}): levels and speed are not tested"
        findings.append(Finding(kind="steady-state", verdict="INCONCLUSIVE", reason=told))
    elif not findings:
        told = f"{', '.join(longest)}: none grows"
        findings.append(Finding(kind="steady-state", verdict="PASS", reason=told))
    return longest, findings


def _slopes(passes: Sequence[Pass], *, alpha: float) -> dict[str, Slope]:
    batches = [one.batches for one in passes]
    found = {}
    for level, limit in LIMITS.items():
        values = [one.levels[level] for one in passes if level in one.levels]
        if len(values) == len(passes):
            slope = slope_of(batches, values, limit=limit, alpha=alpha)
            if slope is not None:
                found[level] = slope
    return found


def _grows(level: str, slope: Slope, passes: Sequence[Pass]) -> str:
    start = passes[judged_from(len(passes))]
    return (
        f"{level} grows by {slope.slope:.4g} [{slope.lower:.4g}, {slope.upper:.4g}] a batch over "
        f"{slope.batches} batches (limit {slope.limit:g}), and goes on growing: "
        f"{start.levels[level]} after pass {start.number}, {passes[-1].levels[level]} after pass "
        f"{passes[-1].number}"
    )
