"""Make canary-speech: `python -m tests.canary.synthesise {set,corpus} ...`.

`set` writes utterances in LibriSpeech's own layout, with the lengths of test-clean;
`corpus` writes the training sentences with the times of their phonemes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from tests.canary.espeak import Espeak, Speech, Voice
from tests.canary.grammar import sentences
from w2v_core.types import SAMPLE_RATE_HZ

VOICES = (
    Voice(speaker=9001, name="en-us", pitch=42),
    Voice(speaker=9002, name="en-us+f3", pitch=46),
    Voice(speaker=9003, name="en-us", pitch=56),
    Voice(speaker=9004, name="en-us+f3", pitch=60),
    Voice(speaker=9005, name="en-us+m3", pitch=48),
)
CHAPTER = 1
AMPLITUDE = 1 / 16  # of espeak-ng's own: FLAC needs a third less, models normalise it away
WORDS_PER_MINUTE = (150, 190)
PITCH_JITTER = 4
SILENCE = 0.02  # of the peak: leading and trailing samples below are cut
GAP_S = (0.05, 0.30)  # between the sentences of one utterance
POOL = {"test": 500, "dev": 500}  # sentences drawn for a set; unused ones stay out of training
POOL_SEED = {"test": 1, "dev": 2}

# Durations of LibriSpeech test-clean in seconds at these quantiles; those between the ends are
# shortened by 7 % and the longest is cut to 29.5 s, which keeps the bundled set small.
LENGTH_PROBABILITIES = (0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1)
LENGTH_QUANTILES = (1.3, 1.94, 2.15, 2.5, 3.42, 5.38, 8.93, 13.54, 16.59, 20.44, 29.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One sentence, spoken, trimmed and stored as int16."""

    text: str
    speaker: int
    samples: npt.NDArray[np.int16]
    phones: tuple[tuple[str, int], ...]


def pool(split: str) -> list[str]:
    """Return the sentences that belong to `split`, "test" or "dev"; the two are disjoint."""
    test = sentences(POOL["test"], seed=POOL_SEED["test"])
    if split == "test":
        return test
    return sentences(POOL["dev"], seed=POOL_SEED["dev"], exclude=frozenset(test))


def trim(speech: Speech, *, text: str, speaker: int) -> Piece:
    """Cut the silence at both ends, lower the amplitude and round to int16."""
    loud = np.flatnonzero(np.abs(speech.samples) > SILENCE * np.abs(speech.samples).max())
    first, last = int(loud[0]), int(loud[-1]) + 1
    samples = np.rint(speech.samples[first:last] * AMPLITUDE).astype(np.int16)
    phones = tuple((phone, max(0, start - first)) for phone, start in speech.phones)
    return Piece(text=text, speaker=speaker, samples=samples, phones=phones)


def speak(espeak: Espeak, text: str, *, voice: Voice, rng: random.Random) -> Piece:
    """Speak one sentence at a random rate and pitch."""
    speech = espeak.synthesise(
        text.lower(),
        voice=voice,
        words_per_minute=rng.randint(*WORDS_PER_MINUTE),
        pitch=voice.pitch + rng.randint(-PITCH_JITTER, PITCH_JITTER),
    )
    return trim(speech, text=text, speaker=voice.speaker)


def target_lengths(count: int) -> list[float]:
    """Return `count` durations in seconds, spread like those of test-clean."""
    points = np.linspace(0, 1, count)
    return [float(x) for x in np.interp(points, LENGTH_PROBABILITIES, LENGTH_QUANTILES)]


def fit(
    pieces: list[Piece], *, seconds: float, rng: random.Random, tries: int = 400
) -> list[Piece]:
    """Choose pieces of one speaker whose total length comes nearest to `seconds`; remove them."""
    best: tuple[float, list[Piece]] = (float("inf"), [])
    for _ in range(tries):
        first = rng.choice(pieces)
        chosen, total = [], 0.0
        for piece in rng.sample([p for p in pieces if p.speaker == first.speaker], k=12):
            if total >= seconds - 1:
                break
            chosen.append(piece)
            total += len(piece.samples) / SAMPLE_RATE_HZ + (
                sum(GAP_S) / 2 if len(chosen) > 1 else 0
            )
        if abs(total - seconds) < best[0]:
            best = abs(total - seconds), chosen
    for piece in best[1]:
        pieces.remove(piece)
    return best[1]


def join(pieces: Sequence[Piece], *, rng: random.Random) -> npt.NDArray[np.int16]:
    """Concatenate sentences with random pauses between them."""
    parts: list[npt.NDArray[np.int16]] = []
    for piece in pieces:
        if parts:
            parts.append(np.zeros(int(rng.uniform(*GAP_S) * SAMPLE_RATE_HZ), np.int16))
        parts.append(piece.samples)
    return np.concatenate(parts)


def write_set(out: Path, *, split: str, count: int) -> None:
    """Write `count` utterances as `<speaker>/<chapter>/<speaker>-<chapter>-<nnnn>.flac`."""
    rng, espeak = random.Random(POOL_SEED[split]), Espeak()
    texts = pool(split)
    pieces = [speak(espeak, t, voice=VOICES[i % len(VOICES)], rng=rng) for i, t in enumerate(texts)]
    chosen = [fit(pieces, seconds=s, rng=rng) for s in reversed(target_lengths(count))]
    rng.shuffle(chosen)
    lines: dict[Path, list[str]] = {}
    for group in chosen:
        folder = out / str(group[0].speaker) / str(CHAPTER)
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"{group[0].speaker}-{CHAPTER}"
        transcript = lines.setdefault(folder / f"{prefix}.trans.txt", [])
        name = f"{prefix}-{len(transcript):04d}"
        samples = join(group, rng=rng)
        soundfile.write(folder / f"{name}.flac", samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        transcript.append(f"{name} {' '.join(piece.text for piece in group)}\n")
    for path, rows in lines.items():
        path.write_text("".join(rows), encoding="utf-8")


def write_corpus(out: Path, *, count: int, seed: int) -> None:
    """Write `count` sentences: `<out>.i16` (samples) and `<out>.jsonl` (texts, phoneme starts)."""
    exclude = frozenset(pool("test")) | frozenset(pool("dev"))
    rng, espeak, offset = random.Random(seed), Espeak(), 0
    out.parent.mkdir(parents=True, exist_ok=True)
    audio_path, index_path = out.with_suffix(".i16"), out.with_suffix(".jsonl")
    with audio_path.open("wb") as audio, index_path.open("w", encoding="utf-8") as index:
        for number, text in enumerate(sentences(count, seed=seed, exclude=exclude)):
            piece = speak(espeak, text, voice=VOICES[number % len(VOICES)], rng=rng)
            audio.write(piece.samples.tobytes())
            row = {"text": text, "speaker": piece.speaker, "phones": piece.phones}
            row |= {"offset": offset, "num_samples": len(piece.samples)}
            index.write(json.dumps(row) + "\n")
            offset += len(piece.samples)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("set")
    one.add_argument("--split", choices=sorted(POOL), required=True)
    two = commands.add_parser("corpus")
    two.add_argument("--seed", type=int, required=True)
    for command, default in ((one, 73), (two, 8000)):
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--count", type=int, default=default)
    args = parser.parse_args(argv)
    if args.command == "set":
        write_set(args.out, split=args.split, count=args.count)
    else:
        write_corpus(args.out, count=args.count, seed=args.seed)


if __name__ == "__main__":
    main()
