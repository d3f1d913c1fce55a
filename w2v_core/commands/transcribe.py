"""``w2v transcribe``: audio files to text, a line each."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core.commands.options import EXIT_CODES, INPUT_ERROR, prepare_device, require_text
from w2v_core.config import DEVICES, BatchPlan, EngineConfig, parse_choice, parse_count
from w2v_core.errors import AudioError, ConfigError
from w2v_core.progress import bars
from w2v_core.report.text import printable
from w2v_core.types import parse_dtype

if TYPE_CHECKING:
    from w2v_core.types import Transcription, Utterance

__all__ = ["add_parser", "transcribe"]

MAX_AUDIO_S = 60.0  # the forward's memory grows with the square of the longest utterance


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``transcribe`` and its flags."""
    parser = commands.add_parser(
        "transcribe",
        help="transcribe audio files",
        description="Transcribe FLAC, WAV, MP3 or OGG files of up to 60 s; prints the path, a tab "
        "and the transcript of each. A file that cannot be used is named on stderr (exit code 3), "
        "the others are still transcribed.",
        epilog=EXIT_CODES,
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="audio file")
    add("--model", default="canary-base", help="canary-base, canary-large, base, large, DIR ...")
    add("--device", default="auto", help=f"{', '.join(DEVICES)}; a missing one is an error")
    add("--dtype", "-dt", default="fp32", help="fp32 (default) or bf16")
    rows = BatchPlan().batch_size
    add("--batch-size", type=int, default=rows, metavar="N", help=f"rows (default {rows})")
    add("--json", action="store_true", help="print JSON: id, text, audio_s, latency_s of each")
    parser.set_defaults(handler=transcribe)


def transcribe(arguments: argparse.Namespace) -> int:
    """Transcribe the files in their order; returns 0, or 3 where any has no transcript.

    Raises:
        ConfigError: a file is named twice, or an option is outside its limits.
    """
    require_text(model=arguments.model)
    config = EngineConfig(
        dtype=parse_dtype(arguments.dtype),
        plan=BatchPlan(batch_size=parse_count("--batch-size", arguments.batch_size), at_most=True),
    )
    device = parse_choice("device", arguments.device, DEVICES)
    _refuse_twice(arguments.files)
    prepare_device(device)

    from w2v_core.engine.devices import open_backend
    from w2v_core.engine.engine import Engine
    from w2v_core.model.catalog import parse_model
    from w2v_core.model.checkpoint import load_checkpoint

    spec = parse_model(arguments.model)
    backend = open_backend(device)
    checkpoint = load_checkpoint(spec)
    utterances, problems = _decode(arguments.files)
    if utterances:
        engine = Engine(checkpoint, backend, config)
        engine.warm_up([u.num_samples for u in utterances], progress=bars)
        audio_s = sum(u.audio_s for u in utterances)
        with bars("transcribing", total=audio_s, unit="audio s") as advance:
            done = engine.transcribe(utterances, record_failures=True, advance=advance)
        problems += [f"{f.utterance_id}: failed in {f.stage}: {f.error}" for f in done.failures]
        sys.stdout.write(_render(done, utterances, as_json=arguments.json))
    elif arguments.json:
        sys.stdout.write("[]\n")
    for problem in problems:
        sys.stderr.write(f"w2v: {printable(problem)}\n")
    return INPUT_ERROR if problems else 0


def _refuse_twice(files: Sequence[str]) -> None:
    twice = sorted({name for name in files if files.count(name) > 1})
    if twice:
        raise ConfigError(f"{printable(twice[0])} is given twice; name each file once")


def _decode(files: Sequence[str]) -> tuple[list[Utterance], list[str]]:
    """Decode what can be decoded, and say what is wrong with the rest."""
    from w2v_core.data.audio import decode
    from w2v_core.types import Utterance

    utterances, problems = [], []
    with bars("decoding", total=len(files), unit="files") as advance:
        for name in files:
            advance(1)
            try:
                waveform = decode(name, name=name, max_audio_s=MAX_AUDIO_S)
            except AudioError as error:
                problems.append(str(error))
                continue
            utterances.append(Utterance(utterance_id=name, waveform=waveform))
    return utterances, problems


def _render(done: Transcription, utterances: Sequence[Utterance], *, as_json: bool) -> str:
    if not as_json:
        lines = [f"{printable(h.utterance_id)}\t{printable(h.text)}\n" for h in done.hypotheses]
        return "".join(lines)
    audio_s = {u.utterance_id: u.audio_s for u in utterances}
    rows = [
        {
            "id": h.utterance_id,
            "text": h.text,
            "audio_s": audio_s[h.utterance_id],
            "latency_s": h.latency_s,
        }
        for h in done.hypotheses
    ]
    return json.dumps(rows, indent=1) + "\n"
