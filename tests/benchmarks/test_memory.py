"""Memory does not grow with the corpus, and stays small beside the model."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from tests.helpers.engines import make_utterance, warm_engine
from w2v_core.engine import engine as engine_module

MIB = 1024 * 1024
linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads proc(5)")


def test_a_stream_holds_a_window_of_utterances(monkeypatch):
    """Counted, not weighed: waveforms alive at once, of a stream many windows long."""
    window, slots, rows, workers = 16, 2, 2, 1
    monkeypatch.setattr(engine_module, "WINDOW", window)
    alive, most = 0, 0

    def forget():
        nonlocal alive
        alive -= 1

    def stream():
        nonlocal alive, most
        for index in range(400):
            utterance = make_utterance(f"u{index}", 400 + 40 * (index % 97))
            weakref.finalize(utterance.waveform, forget)
            alive += 1
            most = max(most, alive)
            yield utterance

    engine = warm_engine([make_utterance("longest", 4_400)], num_slots=slots)
    transcription = engine.transcribe(stream())

    in_flight = rows * (slots + 4 * workers + 2)  # slots, decoding, and the batch being formed
    assert len(transcription.hypotheses) == 400
    assert most <= window + in_flight


@linux
@pytest.mark.slow
def test_twenty_hours_take_the_memory_of_two():
    found = measured("stream", "--hours", "20")

    by_hour = found["resident_bytes_by_hour"]
    assert len(by_hour) == 20
    assert max(by_hour[2:]) - by_hour[1] <= 64 * MIB  # hypotheses stay: 9,700 texts


@linux
@pytest.mark.slow
def test_base_in_bfloat16_takes_little_beside_its_weights():
    found = measured("peak")

    assert found["peak_above_loaded_bytes"] <= 1536 * MIB


def measured(*arguments):
    command = [sys.executable, "-m", "tests.benchmarks.memory", *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)
