"""A soak: the same cells on all cards, pass after pass, and what did not stay as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from w2v_core.errors import DeviceError
from w2v_core.fleet.cards import Card
from w2v_core.fleet.frames import read_frames
from w2v_core.fleet.job import FRAMES, WEIGHTS, Soak
from w2v_core.fleet.passes import PASSES, PLACE, SOFTWARE, Pass, read_passes
from w2v_core.fleet.process import is_stopped
from w2v_core.fleet.soak_verdict import CardSoak, judge_soak
from w2v_core.fleet.steady import Slope
from w2v_core.fleet.verdict import CardCell
from w2v_core.fleet.ways import Again, Fleet, measure_again, result_of
from w2v_core.fleet.weights import read_written
from w2v_core.system import read
from w2v_core.verdict.outcome import GateResult

MOST_STARTS = 4  # of a card's process, the first included
TELL_S = 60.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What all cards did, and how it was judged."""

    cards: tuple[CardSoak, ...]
    judged: tuple[CardCell, ...]
    slopes: Mapping[str, Mapping[str, Slope]]
    """By card and level."""
    again: tuple[Again, ...]
    interrupted: bool

    @staticmethod
    def of(
        fleet: Fleet, asked: Soak, *, stop: int, problems: Mapping[str, Sequence[str]]
    ) -> Soaked:
        """Soak all cards, judge them, ask again those whose ids were wrong; blocks.

        Args:
            fleet: The cards.
            asked: How long, from the first pass on, earlier processes included.
            stop: See ``process.stoppable``.
            problems: What earlier processes told when they ended, by card.
        """
        for card in fleet.cards:  # what cannot be read is told before any of them begins
            read_passes(fleet.folder(card, PLACE) / PASSES)
        ended, interrupted = soak_cards(fleet, asked, stop=stop)
        told = {card: [*problems.get(card, ()), *new] for card, new in ended.items()}
        cards = read_soak(fleet, told)
        if not interrupted and not any(card.passes for card in cards):
            first = next((f"{c}: {p}" for c, why in told.items() for p in why), "no reason given")
            raise DeviceError(f"no card made a pass; {first}")
        judged, slopes = judge_soak(cards)
        again: tuple[Again, ...] = ()
        try:
            again = () if interrupted else measure_again(fleet, judged)
        except KeyboardInterrupt:
            interrupted = True
        return Soaked(
            cards=cards, judged=judged, slopes=slopes, again=again, interrupted=interrupted
        )

    @property
    def result(self) -> GateResult:
        """The verdict."""
        return result_of(self.judged, self.again)


def soak_cards(fleet: Fleet, asked: Soak, *, stop: int) -> tuple[dict[str, list[str]], bool]:
    """Have all cards soak at the same time; blocks.

    Returns:
        By card, why processes ended early; and whether it was interrupted.
    """
    problems: dict[str, list[str]] = {str(c): [] for c in fleet.cards}
    with ThreadPoolExecutor(len(fleet.cards)) as pool:
        pending = {
            pool.submit(_serve, fleet, card, asked, problems[str(card)], stop)
            for card in fleet.cards
        }
        try:
            while pending:
                done, pending = wait(pending, timeout=TELL_S)
                _ = [future.result() for future in done]
                fleet.report(_progress(fleet))
        except KeyboardInterrupt:
            return problems, True
    return problems, False


def _serve(fleet: Fleet, card: Card, asked: Soak, problems: list[str], stop: int) -> None:
    """Have a card soak to the end; a process that is lost is started again."""
    path = fleet.folder(card, PLACE) / PASSES
    for _ in range(MOST_STARTS):
        left = _left(asked, read_passes(path))
        if left is None:
            return
        outcome = fleet.measure(card, PLACE, soak=left)
        if not outcome.problem or is_stopped(stop):
            return
        problems.append(outcome.problem)
        if outcome.refused:
            return


def _left(asked: Soak, done: Sequence[Pass]) -> Soak | None:
    """Return what a card has still to do; None where nothing is left."""
    if asked.passes is not None and done and done[-1].number >= asked.passes:
        return None
    if asked.seconds is None:
        return asked
    seconds = asked.seconds - sum(one.wall_s for one in done)
    return replace(asked, seconds=seconds) if seconds > 0 else None


def _progress(fleet: Fleet) -> str:
    told = []
    for card in fleet.cards:
        passes = read_passes(fleet.folder(card, PLACE) / PASSES)
        wrong = sum(any(c.num_wrong or c.num_failed for c in one.cells) for one in passes)
        told.append(f"{card}: {len(passes)} passes" + (f", {wrong} of them wrong" if wrong else ""))
    return "; ".join(told)


def read_soak(fleet: Fleet, problems: Mapping[str, Sequence[str]]) -> tuple[CardSoak, ...]:
    """Read what the cards left; raises RecordError."""
    found = []
    for card in fleet.cards:
        folder = fleet.folder(card, PLACE)
        passes = read_passes(folder / PASSES)
        cells = [c.cell for one in passes[:1] for c in one.cells]
        kept = {c: folder / WEIGHTS.format(cell=c) for c in cells}  # none of an older soak
        found.append(
            CardSoak(
                card=str(card),
                device=card.device,
                passes=tuple(passes),
                frames={c: read_frames(folder / FRAMES.format(cell=c)) for c in cells},
                weights={c: read_written(file) for c, file in kept.items() if file.exists()},
                software=read(folder / SOFTWARE) or "",
                problems=tuple(problems.get(str(card), ())),
            )
        )
    return tuple(found)
