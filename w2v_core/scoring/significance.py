"""Is one WER worse than another? Paired statistics on per-utterance errors. No torch here.

On the set itself nothing is sampled: both systems transcribed every utterance, and the change of
the WER is exact. A verdict is about this set: PASS where the rise is below the margin, FAIL where
it is not and is more than the flips of single words that any change of arithmetic brings. What it
says about other speech is told beside it, by an interval that takes utterances and speakers as
drawn from more of their kind.

The WER of a set says little about 0.1 points: on LibriSpeech test-clean its own interval is about
half a point wide. Two systems on the same utterances share nearly all of their errors, so the
difference is known some twenty times better. Two methods that fail differently:

- MAPSSWE, the matched-pairs sentence-segment word error test: Gillick and Cox, "Some statistical
  issues in the comparison of speech recognition algorithms" (ICASSP 1989), as in NIST's
  ``sc_stats``; a segment is an utterance here: those of a read corpus are separate readings, and
  parts of one utterance share its speaker and noise, so that cutting it up, as ``sc_stats`` does at
  pauses of correct words, counts them as more evidence than they are;
- the paired bootstrap over speakers: Bisani and Ney, "Bootstrap estimates for confidence intervals
  in ASR performance evaluation" (ICASSP 2004), with a speaker's utterances drawn as one block (Liu
  and Peng, arXiv 1912.09508), because they are not independent.

Arrays are (..., utterances): leading axes are independent comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from w2v_core.errors import TranscriptError

Floats = npt.NDArray[np.float64]
Outcome = Literal["PASS", "INCONCLUSIVE", "FAIL"]

MIN_SPEAKERS = 8  # fewer blocks give a bootstrap with nothing to draw from
_RESAMPLES = 1000
_GROSS = 10  # times the margin: no question of chance on the set that it was measured on


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedWer:
    """A WER difference (new minus old, a fraction) and its standard error, each (...)."""

    delta: Floats
    standard_error: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class NonInferiority:
    """Whether the new WER is less than ``margin`` above the old one, on this set."""

    outcome: Outcome
    delta: float
    """New minus old corpus WER, a fraction."""
    lower: float
    """Bound of the difference on other speech: the lower (weaker) one of the two methods."""
    upper: float
    """Bound of the difference on other speech: the higher (weaker) one of the two methods."""
    p_mapsswe: float
    """Two-sided p value of "no difference"."""
    num_utterances: int
    num_speakers: int
    reference_words: int
    words_needed: int
    """The fewest reference words that can exclude the margin, were nothing changed at all."""
    reason: str


def mapsswe(differences: Floats) -> tuple[Floats, Floats]:
    """Return MAPSSWE's statistic and its two-sided p value for (..., utterances) differences.

    ``W = mean(Z) / (sd(Z) / sqrt(n))`` is standard normal without a difference (Gillick and Cox
    1989, eq. 8 ff.); where no utterance differs, W is 0 and p is 1.
    """
    count = differences.shape[-1]
    mean = differences.mean(axis=-1)
    error = differences.std(axis=-1, ddof=1) / np.sqrt(count)
    statistic = np.divide(mean, error, out=np.zeros_like(mean), where=error > 0)
    constant = (error == 0) & (mean != 0)
    statistic = np.where(constant, np.copysign(np.inf, mean), statistic)
    return statistic, np.asarray(2.0 * special.ndtr(-np.abs(statistic)))


def matched_pairs(differences: Floats, words: Floats) -> PairedWer:
    """Estimate the WER difference as a ratio of sums, with utterances as units.

    The residuals ``Z - delta * words`` are those of the ratio estimator: testing them is MAPSSWE
    for the hypothesis that the difference is ``delta``.
    """
    total = words.sum(axis=-1)
    count = differences.shape[-1]
    delta = differences.sum(axis=-1) / total
    residuals = differences - delta[..., None] * words
    squares = np.square(residuals).sum(axis=-1)
    return PairedWer(
        delta=delta, standard_error=np.sqrt(squares * count / max(count - 1, 1)) / total
    )


def block_bootstrap(
    differences: Floats, words: Floats, *, resamples: int = _RESAMPLES, seed: int = 0
) -> PairedWer:
    """Estimate the same with (..., speakers) sums as units, drawn with replacement.

    The standard error is that of the ``resamples`` drawn differences, times
    ``sqrt(speakers / (speakers - 1))``, the bootstrap's known shortfall for few units.
    """
    speakers = differences.shape[-1]
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(speakers, np.full(speakers, 1.0 / speakers), size=resamples)
    draws = counts.astype(np.float64).T  # (speakers, resamples)
    drawn = (differences @ draws) / (words @ draws)
    shortfall = np.sqrt(speakers / max(speakers - 1, 1))
    return PairedWer(
        delta=differences.sum(axis=-1) / words.sum(axis=-1),
        standard_error=np.asarray(drawn.std(axis=-1) * shortfall),
    )


def non_inferiority(
    old_errors: Sequence[int],
    new_errors: Sequence[int],
    words: Sequence[int],
    speakers: Sequence[str | None],
    *,
    margin: float = 0.001,
    alpha: float = 0.01,
) -> NonInferiority:
    """Judge whether the WER rose by less than ``margin``; entry i of each belongs to utterance i.

    PASS where the rise on this set is below the margin; FAIL where it is not and MAPSSWE shows it,
    or it is ten times the margin, by whichever utterances; INCONCLUSIVE between: a few words.

    Args:
        old_errors: Word edits of the old system.
        new_errors: Word edits of the new one.
        words: Reference words.
        speakers: Who spoke; an utterance of an unknown speaker is a block of its own.
        margin: The increase that must not go unseen, a fraction (0.001 is 0.1 points).
        alpha: One-sided error rate, of either wrong verdict.

    Raises:
        TranscriptError: the sequences differ in length, or there is no reference word.
    """
    _check_comparable(old_errors, new_errors, words, speakers)
    differences = np.asarray(new_errors, dtype=np.float64) - np.asarray(old_errors)
    counts, blocks = np.asarray(words, dtype=np.float64), _blocks(speakers)
    num_speakers = int(blocks.max()) + 1
    lower, upper = bounds(differences, counts, blocks, alpha=alpha)
    delta = float(differences.sum() / counts.sum())
    p_mapsswe = float(mapsswe(differences)[1]) if len(words) > 1 else 1.0
    outcome, reason = _on_this_set(
        delta,
        shown=delta > 0 and p_mapsswe / 2 <= alpha,
        margin=margin,
        rise=int(differences.sum()),
    )
    return NonInferiority(
        outcome=outcome,
        delta=delta,
        lower=float(lower),
        upper=float(upper),
        p_mapsswe=p_mapsswe,
        num_utterances=len(words),
        num_speakers=num_speakers,
        reference_words=sum(words),
        words_needed=int(np.ceil(-np.log(alpha) / margin)),
        reason=f"{reason}; {_elsewhere(float(upper), speakers=num_speakers, margin=margin)}",
    )


def bounds(
    differences: Floats, words: Floats, blocks: npt.NDArray[np.intp], *, alpha: float
) -> tuple[Floats, Floats]:
    """Return the weaker of the two methods' one-sided bounds at ``alpha``, each (...).

    An interval of zero width is not to be had from a finite set: with no change among N words, up
    to ``-ln(alpha) / N`` would still go unseen (the rule of three, at level ``alpha``).

    Args:
        differences: (..., utterances), new minus old errors.
        words: (utterances,) reference words.
        blocks: (utterances,) speaker of each, numbered from 0.
        alpha: One-sided level of each bound.
    """
    speakers = int(blocks.max()) + 1
    member = np.zeros((len(blocks), speakers))
    member[np.arange(len(blocks)), blocks] = 1.0
    by_utterance = matched_pairs(differences, words)
    by_speaker = block_bootstrap(differences @ member, words @ member)
    wide = np.maximum(
        -special.stdtrit(max(len(blocks) - 1, 1), alpha) * by_utterance.standard_error,
        -special.stdtrit(max(speakers - 1, 1), alpha) * by_speaker.standard_error,
    )
    delta = by_utterance.delta
    unseen = -np.log(alpha) / words.sum()
    return delta - wide, delta + np.maximum(wide, unseen)


def _check_comparable(
    old_errors: Sequence[int],
    new_errors: Sequence[int],
    words: Sequence[int],
    speakers: Sequence[str | None],
) -> None:
    if not len(old_errors) == len(new_errors) == len(words) == len(speakers):
        raise TranscriptError(
            f"{len(old_errors)} old and {len(new_errors)} new error counts for {len(words)} "
            "utterances; score both systems on the same set"
        )
    if sum(words) <= 0:
        raise TranscriptError("no reference word to compare on; give the set references")


def _on_this_set(delta: float, *, shown: bool, margin: float, rise: int) -> tuple[Outcome, str]:
    """Return the verdict on the set at hand, where the change is exact, and its reason."""
    points = f"{margin * 100:.3g} points"
    if delta == 0:
        return "PASS", "as many word errors as before"
    if delta < margin:
        change = f"{delta * 100:+.3g} points" if delta > 0 else "fewer word errors"
        return "PASS", f"{change} on this set, where it is exact; below the margin of {points}"
    told = f"the WER rose by {delta * 100:.3g} points ({rise} words) on this set, where it is exact"
    if shown:
        return "FAIL", f"{told}; more than flips of single words"
    if delta >= _GROSS * margin:
        return "FAIL", f"{told}; {_GROSS} times the margin, whichever utterances it comes from"
    return "INCONCLUSIVE", f"{told}; flips of single words could be as many"


def _elsewhere(upper: float, *, speakers: int, margin: float) -> str:
    """Say what a change on this set says about other speech."""
    if speakers < MIN_SPEAKERS:
        return f"says nothing about other speakers, from {speakers}"
    if upper < margin:
        return f"on other speech a rise of {margin * 100:.3g} points is excluded"
    return f"on other speech a rise of up to {upper * 100:.3g} points is not excluded"


def _blocks(speakers: Sequence[str | None]) -> npt.NDArray[np.intp]:
    """Number the speakers; an unknown one is new each time."""
    names = [s if s is not None else f"\0{i}" for i, s in enumerate(speakers)]
    numbers: npt.NDArray[np.intp] = np.unique(np.asarray(names), return_inverse=True)[1]
    return numbers.reshape(-1)
