"""``--profile``: a trace of one more pass, taken when everything that is measured is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.backends.watchdog import settle
from w2v_core.errors import ReportError

if TYPE_CHECKING:
    from torch.profiler import ProfilerActivity

    from w2v_core.engine.engine import Engine
    from w2v_core.types import Utterance

MAX_UTTERANCES = 64  # a trace grows with every operator, and viewers give up on large ones
TOP_OPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a profiled pass left behind."""

    trace: Path
    """Chrome's JSON format, gzipped: for Perfetto or chrome://tracing."""
    top_ops: Path
    """A table of the operators that took the longest."""
    num_utterances: int


def profile_pass(engine: Engine, utterances: Sequence[Utterance], directory: Path) -> Profile:
    """Transcribe the first utterances once under torch.profiler; blocks, and times nothing.

    The engine must be warm for these utterances: the trace then shows the steady state.

    Args:
        engine: Whose pass is traced: its host's operators, and its device's where the profiler
            knows that device.
        utterances: At most ``MAX_UTTERANCES`` of them are used, spread over the set.
        directory: Where ``trace.json.gz`` and ``top_ops.txt`` go.

    Raises:
        ReportError: a file cannot be written.
    """
    from torch.profiler import profile

    chosen = utterances[:: -(-len(utterances) // MAX_UTTERANCES) or 1]
    with profile(activities=_activities(engine.backend.name)) as profiler:
        engine.transcribe(chosen, record_failures=True)
        settle(engine.backend, timeout_s=engine.config.event_timeout_s)
    found = Profile(
        trace=directory / "trace.json.gz",
        top_ops=directory / "top_ops.txt",
        num_utterances=len(chosen),
    )
    averages = profiler.key_averages()
    on_device = any(e.self_device_time_total > 0 for e in averages)
    key = "self_device_time_total" if on_device else "self_cpu_time_total"
    try:
        profiler.export_chrome_trace(str(found.trace))
        found.top_ops.write_text(averages.table(sort_by=key, row_limit=TOP_OPS) + "\n")
    except OSError as error:
        raise ReportError(
            f"the profile cannot be written to {directory}: {error.strerror or error}; "
            "{use:reports_dir DIR} to give another"
        ) from error
    return found


def _activities(device: str) -> list[ProfilerActivity]:
    from torch.profiler import ProfilerActivity

    names = dict.fromkeys(("CPU", device.upper()))
    return [getattr(ProfilerActivity, name) for name in names if hasattr(ProfilerActivity, name)]
