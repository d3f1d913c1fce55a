"""Cuts long audio into pieces at its quietest places. No torch here."""

from __future__ import annotations

import math

import numpy as np

from w2v_core.types import SAMPLE_RATE_HZ, Waveform

HOP = SAMPLE_RATE_HZ // 100  # 10 ms: the grid that cuts lie on
PAUSE_HOPS = 20  # a cut lies in the middle of the quietest 0.2 s


def cut_places(waveform: Waveform, *, max_samples: int) -> tuple[int, ...]:
    """Return where to cut, in samples, so that no piece is longer than ``max_samples``.

    Each cut lies where 0.2 s have the least energy within the second half of what one piece may
    hold; the latest of equals. So every piece has at least half of ``max_samples``, and the same
    waveform is always cut alike. Where speech has no pause, a word may be cut in two.

    Args:
        waveform: (S,) float32.
        max_samples: At least 2 s.

    Returns:
        Ascending, each within 1 .. S - 1; empty where the waveform is one piece.
    """
    places: list[int] = []
    start, half = 0, max_samples // 2
    while (left := len(waveform) - start) > max_samples:
        first, last = start + half, start + min(max_samples, left - half)
        place = _quietest(waveform[first:last]) + first
        places.append(place)
        start = place
    return tuple(places)


def _quietest(window: Waveform) -> int:
    """Return the middle of the quietest 0.2 s of (W,), in samples."""
    hops = len(window) // HOP
    if hops < PAUSE_HOPS:
        return len(window) // 2
    samples = window[: hops * HOP].astype(np.float64).reshape(hops, HOP)
    total = np.concatenate([[0.0], np.cumsum(np.square(samples).sum(axis=1))])
    energy = total[PAUSE_HOPS:] - total[:-PAUSE_HOPS]
    least = max(float(energy.min()), 0.0)
    near = np.flatnonzero(energy <= least + 1e-12 * max(total[-1], math.ulp(1.0)))
    return (int(near[-1]) + PAUSE_HOPS // 2) * HOP
