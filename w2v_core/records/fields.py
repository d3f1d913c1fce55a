"""The registry: every key of a fingerprint and every figure of a record, each once.

What a name means stands here and nowhere else: its unit, how it is shown, whether it identifies
what was measured or where, and why it matters. Readers ask the registry; a contract test holds that
what is asked for is written by a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from w2v_core.records.record import CellRecord

Role = Literal["identifies", "place", "volatile", "describes"]
"""``identifies``: a baseline is keyed by it, or it names the subject; ``place``: says where a run
was made, not with what; ``volatile``: differs from minute to minute, no part of a difference."""

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a fingerprint, or the beginning that a family of keys shares."""

    name: str
    why: str = ""
    """Why it is known to matter; empty where it is not."""
    role: Role = "describes"
    is_prefix: bool = False
    """Whether ``name`` is the beginning of a family, such as ``OMP_``."""
    unit: str = ""

    def covers(self, key: str) -> bool:
        """Whether this row speaks of ``key``."""
        return key.startswith(self.name) if self.is_prefix else key == self.name


def _family(name: str, why: str = "", role: Role = "describes") -> Key:
    return Key(name=name, why=why, role=role, is_prefix=True)


_RECIPES = "a warm recipe cache changes first-run time"
_THREADS = "host threads"
_HOST = "the host"
_ENGINE = "the engine under test"

KEYS: tuple[Key, ...] = (
    Key(name="PT_HPU_LAZY_MODE", why="lazy or eager execution; the default is 0 since 1.21"),
    Key(name="PT_HPU_ENABLE_GENERIC_STREAM", why="whether copies overlap the compute stream"),
    Key(name="PT_ENABLE_INT64_SUPPORT", why="64-bit integers change casts and kernels"),
    Key(name="PT_HPU_RECIPE_CACHE_CONFIG", why=_RECIPES),
    Key(name="PT_RECIPE_CACHE_PATH", why=_RECIPES),
    Key(name="PT_HPU_ENABLE_REFINE_DYNAMIC_SHAPES", why="dynamic shapes change compilation"),
    Key(name="PT_HPU_PLACE_ON_CPU", why="whether operators may fall back to the host"),
    Key(name="execution", why="lazy or eager execution", role="describes"),
    Key(name="hpu_graph_arguments", why="how graphs are captured and kept"),
    _family("PT_HPU", "a bridge setting"),
    _family("PT_", "a bridge setting"),
    _family("HABANA_", "a SynapseAI setting"),
    _family("HLS_"),
    _family("LOG_LEVEL_", "logging slows a run"),
    _family("ENABLE_CONSOLE", "logging slows a run"),
    _family("GRAPH_VISUALIZATION", "a profile slows a run"),
    _family("OMP_", _THREADS),
    _family("MKL_", _THREADS),
    _family("KMP_", _THREADS),
    _family("MALLOC_", "host memory allocator"),
    Key(
        name="synapse_build",
        why="the release itself: graph compiler, kernels, runtime",
        role="identifies",
    ),
    Key(
        name="habana-torch-plugin",
        why="the bridge between torch and SynapseAI",
        role="identifies",
    ),
    _family("habana-torch-", "the bridge between torch and SynapseAI"),
    Key(name="driver", why="kernel driver of the card", role="identifies"),
    Key(name="hlml_driver", why="kernel driver of the card"),
    Key(name="firmware", why="firmware of the card", role="identifies"),
    Key(name="firmware_spi", why="firmware of the card"),
    Key(name="torch", why="operators, their default types and fusions", role="identifies"),
    Key(name="transformers", why="the model's code"),
    Key(name="cuda", why="CUDA libraries", role="identifies"),
    Key(name="cudnn", why="convolution kernels"),
    Key(name="tf32", why="precision of float32 products"),
    Key(name="compute_capability", why="the card"),
    Key(name="checkpoint_sha256", why="the weights", role="identifies"),
    _family("checkpoint", "the weights"),
    Key(name="governor", why="clock speed of the host", role="place"),
    Key(name="num_threads", why=_THREADS, role="place"),
    Key(name="cpus", why=_THREADS),
    Key(name="cpus_usable", why=_THREADS, role="place"),
    Key(name="cpu_capability", why=_HOST),
    Key(name="mkldnn", why="kernels of the host"),
    Key(name="processor", why=_HOST, role="place"),
    Key(name="host", why=_HOST, role="place"),
    Key(name="boot_id", role="volatile"),  # of the machine, through every container on it
    Key(name="host_class", why=_HOST, role="place"),
    Key(name="memory_total_bytes", why=_HOST, role="place", unit="bytes"),
    Key(name="device", role="identifies"),
    Key(name="device_name", why="the card", role="place"),
    Key(name="card", why="the card", role="place"),
    Key(name="card_uuid", why="the card", role="place"),
    Key(name="card_memory_bytes", why="the card", unit="bytes"),
    Key(name="module_id", why="another card of the host", role="place"),
    Key(name="bus_id", why="another card of the host", role="place"),
    _family("card_power", role="volatile"),
    _family("card_utilization", role="volatile"),
    _family("card_memory_used", role="volatile"),
    _family("card_temperature", role="volatile"),
    _family("card_clock", role="volatile"),
    Key(name="kernel", why="kernel of the host: scheduling, memory, mitigations"),
    Key(name="libc", why=_HOST),
    Key(name="container", why=_HOST),
    Key(name="w2v_core", why=_ENGINE),
    Key(name="commit", why=_ENGINE),
)
"""One row a key; the first that covers a key speaks of it."""

KEY_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("card", ("device_name", "card")),
    ("synapse", ("synapse_build", "habana-torch-plugin")),
    ("torch", ("torch",)),
    ("driver", ("driver",)),
    ("firmware", ("firmware",)),
    ("cuda", ("cuda",)),
    ("host_class", ("host_class",)),
    ("threads", ("num_threads",)),
)
"""Name in a baseline's key, and the fingerprint keys that hold it; the first found wins."""

RELEASE_KEYS = ("synapse_build", "driver", "cuda", "torch", "transformers", "python", "commit")
"""What names the software under test in a line."""

MACHINE_KEYS = ("processor", "card", "host", "num_threads")
"""What names the machine in a line."""


def describe(key: str) -> Key:
    """Return what is known of a fingerprint's key; a plain row where nothing is."""
    return next((row for row in KEYS if row.covers(key)), Key(name=key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a record: where it is, and how it is shown."""

    name: str
    """Column of ``summary.csv``, raw and in SI units."""
    header: str
    """Heading of a table for people."""
    of: Callable[[CellRecord], float | int | None]
    """Read it from a record, raw; None where the record does not hold it."""
    unit: str = ""
    """Shown behind the scaled value."""
    scale: float = 1.0
    """Factor from the raw value to the shown unit."""
    spec: str = ".4g"
    """Format of the scaled value."""
    better: Better | None = None
    """Which direction is better; None where neither is."""
    why: str = ""
    """What it says, in a sentence."""

    def text(self, record: CellRecord, *, absent: str = "-") -> str:
        """Return the figure of a record as a table shows it, without its unit."""
        value = self.of(record)
        return absent if value is None else format(value * self.scale, self.spec)


def _plain(name: str) -> Callable[[CellRecord], Any]:
    return lambda record: getattr(record, name)


def _latency(which: str) -> Callable[[CellRecord], float | None]:
    return lambda record: record.latency_s.get(which)


_FIGURES = (
    Figure(
        name="num_utterances",
        header="utterances",
        of=_plain("num_utterances"),
        spec="d",
        why="utterances that were transcribed or failed",
    ),
    Figure(name="audio_s", header="audio s", of=_plain("audio_s"), unit="s"),
    Figure(
        name="wer",
        header="WER %",
        of=_plain("wer"),
        unit="%",
        scale=100.0,
        spec=".2f",
        better="lower",
        why="corpus word error rate",
    ),
    Figure(
        name="golden_wer",
        header="golden WER %",
        of=_plain("golden_wer"),
        unit="%",
        scale=100.0,
        spec=".2f",
        why="corpus word error rate of the golden transcripts over the same utterances",
    ),
    Figure(name="substitutions", header="S", of=_plain("substitutions"), spec="d", better="lower"),
    Figure(name="deletions", header="D", of=_plain("deletions"), spec="d", better="lower"),
    Figure(name="insertions", header="I", of=_plain("insertions"), spec="d", better="lower"),
    Figure(name="reference_words", header="words", of=_plain("reference_words"), spec="d"),
    Figure(
        name="rtfx",
        header="RTFx",
        of=_plain("rtfx"),
        better="higher",
        why="audio seconds per wall second of the median round",
    ),
    Figure(
        name="utterances_per_s",
        header="utt/s",
        of=_plain("utterances_per_s"),
        unit="1/s",
        better="higher",
    ),
    Figure(
        name="latency_p50_s",
        header="p50 ms",
        of=_latency("p50"),
        unit="ms",
        scale=1e3,
        better="lower",
    ),
    Figure(
        name="latency_p90_s",
        header="p90 ms",
        of=_latency("p90"),
        unit="ms",
        scale=1e3,
        better="lower",
    ),
    Figure(
        name="latency_p99_s",
        header="p99 ms",
        of=_latency("p99"),
        unit="ms",
        scale=1e3,
        better="lower",
    ),
    Figure(
        name="round_median_s",
        header="round s",
        of=lambda record: median(record.rounds_s) if record.rounds_s else None,
        unit="s",
        better="lower",
    ),
    Figure(name="num_rounds", header="rounds", of=lambda record: len(record.rounds_s), spec="d"),
    Figure(name="warm_up_s", header="warm-up s", of=_plain("warm_up_s"), unit="s", better="lower"),
    Figure(
        name="padding_efficiency",
        header="padding eff.",
        of=_plain("padding_efficiency"),
        unit="%",
        scale=100.0,
        spec=".0f",
        better="higher",
        why="real over padded audio samples",
    ),
    Figure(name="graph_captures", header="captures", of=_plain("graph_captures"), spec="d"),
    Figure(
        name="captures_timed",
        header="captures timed",
        of=_plain("captures_timed"),
        spec="d",
        better="lower",
    ),
    Figure(
        name="compilations_timed",
        header="compilations timed",
        of=_plain("compilations_timed"),
        spec="d",
        better="lower",
    ),
    Figure(
        name="cpu_fallbacks_timed",
        header="CPU fallbacks timed",
        of=_plain("cpu_fallbacks_timed"),
        spec="d",
        better="lower",
    ),
    Figure(
        name="peak_memory_bytes",
        header="peak memory MiB",
        of=_plain("peak_memory_bytes"),
        unit="MiB",
        scale=1 / 2**20,
        better="lower",
    ),
    Figure(
        name="energy_j",
        header="energy J",
        of=_plain("energy_j"),
        unit="J",
        better="lower",
        why="energy of the card over one timed round, mean over the rounds",
    ),
    Figure(
        name="num_changed_vs_golden",
        header="changed",
        of=lambda record: (
            None if record.changed_vs_golden is None else len(record.changed_vs_golden)
        ),
        spec="d",
        better="lower",
        why="transcripts that differ from the golden ones",
    ),
    Figure(
        name="logit_distance",
        header="logit distance",
        of=_plain("logit_distance"),
        better="lower",
        why="largest estimated RMS logit difference from a golden",
    ),
)

FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _FIGURES}
"""Every figure of a record by name, in the order of ``summary.csv``."""
