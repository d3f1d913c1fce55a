"""``w2v transcribe``: audio files and folders to text, a line each."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.commands import HELP
from w2v_core.commands.options import given, prepare_device
from w2v_core.commands.parser import EXIT_CODES, INPUT_ERROR
from w2v_core.config import EngineConfig, form_plan
from w2v_core.errors import AudioError, ConfigError
from w2v_core.options.option import declare
from w2v_core.printable import printable
from w2v_core.progress import bars
from w2v_core.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from w2v_core.model.catalog import ModelSpec
    from w2v_core.model.checkpoint import Checkpoint
    from w2v_core.types import Transcription, Utterance

MAX_PIECE_S = 60  # the forward's memory grows with the square of the longest utterance
PIECE = "\0"  # between a file's name, which cannot hold it, and a piece's number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audio:
    """What could be decoded, in pieces, and what is wrong with the rest."""

    cuts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Where each file was cut, in samples, in the order given."""
    pieces: list[Utterance] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What is odd about each file's audio."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``transcribe`` and its flags."""
    parser = commands.add_parser(
        "transcribe",
        help=HELP["transcribe"],
        description="Transcribe FLAC, WAV, MP3 or OGG files, and all of those in folders and the "
        "folders below; prints the path, a tab and the transcript of each. A file of more than "
        f"{MAX_PIECE_S} s is cut at its quietest places, each piece is transcribed, and the "
        "transcripts are joined. All audio is held in memory, 230 MB an hour. A file that cannot "
        "be used is named on stderr (exit code 3), the others are still transcribed.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio file, or folder of them")
    declare("transcribe", parser.add_argument)
    parser.set_defaults(handler=transcribe)


def transcribe(arguments: argparse.Namespace) -> int:
    """Transcribe the files in their order; returns 0, or 3 where any has no transcript.

    Raises:
        ConfigError: a file is named twice, or an option is outside its limits.
    """
    options = given("transcribe", arguments)
    config = EngineConfig(
        dtype=options["dtype"],
        forward=options["forward"],
        plan=form_plan("auto", num_buckets=None, batch_size=options["batch_size"]),
    )
    device = options["device"]
    files, problems = _expand(arguments.files)
    prepare_device(device)

    from w2v_core.engine.devices import open_backend
    from w2v_core.engine.engine import Engine
    from w2v_core.model.checkpoint import load_checkpoint

    spec = _model(options["model"])
    backend = open_backend(device)
    checkpoint = load_checkpoint(spec)
    _tell_model(spec, checkpoint)
    audio = _decode(files)
    problems += audio.problems
    rows = []
    if audio.pieces:
        engine = Engine(checkpoint, backend, config)
        engine.warm_up([u.num_samples for u in audio.pieces], progress=bars)
        audio_s = sum(u.audio_s for u in audio.pieces)
        with bars("transcribing", total=audio_s, unit="audio s") as advance:
            done = engine.transcribe(audio.pieces, record_failures=True, advance=advance)
        rows = _join(done, audio)
        problems += [
            f"{f.utterance_id.partition(PIECE)[0]}: failed in {f.stage}: {f.error}"
            for f in done.failures
        ]
    sys.stdout.write(_render(rows, as_json=options["json"]))
    for name, notes in audio.notes.items():
        for note in notes:
            sys.stderr.write(f"w2v: warning: {printable(name)}: {printable(note)}\n")
    for problem in problems:
        sys.stderr.write(f"w2v: {printable(problem)}\n")
    return INPUT_ERROR if problems else 0


def _model(name: str | None) -> ModelSpec:
    """Return the model asked for; else base where it is here whole, else the canary."""
    from w2v_core.model.catalog import MODELS, parse_model
    from w2v_core.model.checkpoint_hub import why_not_loadable

    if name is not None:
        return parse_model(name)
    return MODELS["canary-base" if why_not_loadable(MODELS["base"]) else "base"]


def _tell_model(spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Say on stderr what transcribes, and what it cannot do."""
    place = f"{spec.location} at {checkpoint.revision}" if checkpoint.revision else spec.location
    where = "bundled" if spec.source == "bundled" else place
    sys.stderr.write(f"w2v: model {printable(spec.name)} ({printable(where)})\n")
    for note in checkpoint.notes:
        sys.stderr.write(f"w2v: {printable(spec.name)}: {printable(note)}\n")
    if spec.source == "bundled":
        sys.stderr.write(
            f"w2v: warning: {spec.name} knows synthetic English only, its text for real speech is "
            "nonsense; use --model base, or another checkpoint\n"
        )


def _expand(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Put the audio of folders in their place; return the files and what is wrong with folders.

    Raises:
        ConfigError: a file is named twice.
    """
    files: list[str] = []
    problems: list[str] = []
    for name in given:
        files += _audio_below(Path(name), problems) if Path(name).is_dir() else [name]
    if twice := [name for name, count in Counter(files).items() if count > 1]:
        raise ConfigError(f"{printable(twice[0])} is given twice; name each file once")
    return files, problems


def _audio_below(folder: Path, problems: list[str]) -> list[str]:
    from w2v_core.data.audio import AUDIO_SUFFIXES, UNREAD_SUFFIXES
    from w2v_core.data.listing import walk

    before, suffixes = len(problems), {*AUDIO_SUFFIXES, *UNREAD_SUFFIXES}
    found = [str(p) for p in walk(folder, problems=problems) if p.suffix.lower() in suffixes]
    if not found and len(problems) == before:
        problems.append(f"{folder}: the folder holds no {', '.join(AUDIO_SUFFIXES)}")
    return found


def _decode(files: Sequence[str]) -> _Audio:
    """Decode and cut what can be decoded, and say what is wrong with the rest."""
    from w2v_core.data.audio import read_audio
    from w2v_core.data.cutting import cut_places
    from w2v_core.data.listing import dangling
    from w2v_core.types import Utterance

    audio = _Audio()
    with bars("decoding", total=len(files), unit="files") as advance:
        for name in files:
            advance(1)
            try:
                recording = read_audio(name, name=name)
            except AudioError as error:
                link = dangling(Path(name))
                audio.problems.append(f"{name}: {link}" if link else str(error))
                continue
            waveform, audio.notes[name] = recording.waveform, recording.notes
            cuts = cut_places(waveform, max_samples=MAX_PIECE_S * SAMPLE_RATE_HZ)
            audio.cuts[name] = cuts
            for start, end in zip((0, *cuts), (*cuts, len(waveform)), strict=True):
                piece_id = f"{name}{PIECE}{start}"
                audio.pieces.append(Utterance(utterance_id=piece_id, waveform=waveform[start:end]))
    return audio


def _join(done: Transcription, audio: _Audio) -> list[dict[str, object]]:
    """Join each file's pieces; a file of which a piece failed has no transcript."""
    failed = {f.utterance_id.partition(PIECE)[0] for f in done.failures}
    texts: dict[str, list[str]] = {name: [] for name in audio.cuts if name not in failed}
    latency_s = dict.fromkeys(texts, 0.0)
    audio_s = dict.fromkeys(texts, 0.0)
    for piece in audio.pieces:
        name = piece.utterance_id.partition(PIECE)[0]
        if name in texts:
            audio_s[name] += piece.audio_s
    for hypothesis in done.hypotheses:  # in the order of the pieces
        name = hypothesis.utterance_id.partition(PIECE)[0]
        if name in texts:
            texts[name].append(hypothesis.text)
            latency_s[name] = max(latency_s[name], hypothesis.latency_s)
    return [
        {
            "id": name,
            "text": " ".join(text for text in pieces if text),
            "audio_s": audio_s[name],
            "latency_s": latency_s[name],
            "cuts_s": [cut / SAMPLE_RATE_HZ for cut in audio.cuts[name]],
            "notes": list(audio.notes[name]),
        }
        for name, pieces in texts.items()
    ]


def _render(rows: Sequence[dict[str, object]], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(rows, indent=1) + "\n"
    return "".join(f"{printable(str(r['id']))}\t{printable(str(r['text']))}\n" for r in rows)
