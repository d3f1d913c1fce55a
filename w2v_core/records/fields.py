"""The registry: every key of a fingerprint and every figure of a record, each once.

What a name means stands here: its unit, how it is shown, whether it identifies what was measured or
where, and why it matters. A contract test holds that what is asked for is written by a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

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
_BRIDGE = "the bridge between torch and SynapseAI"
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
    Key(name="execution", why="lazy or eager execution"),
    Key(name="torch_family", why="Intel's fork of torch or a stock build"),
    Key(name="hpu_graph_arguments", why="how graphs are captured and kept"),
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
    Key(name="synapse_build", why="the release: compiler, kernels, runtime", role="identifies"),
    Key(name="habana-torch-plugin", why=_BRIDGE, role="identifies"),
    _family("habana-torch-", _BRIDGE),
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
    Key(name="cpu_class", why="kernels are chosen by the processor's class"),
    Key(name="cpu_capability", why=_HOST),
    Key(name="kernels", why="what computes the forward"),
    Key(name="graphs_by", why="what captures or compiles the graphs"),
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
    Key(name="commit_unknown", role="volatile"),  # why the commit is None
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
    read: Callable[[CellRecord], float | int | None] | None = None
    """How to take it from a record; the attribute of its name where it is left out."""
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

    def of(self, record: CellRecord) -> float | int | None:
        """Return its raw value; None where the record does not hold it."""
        if self.read is not None:
            return self.read(record)
        value: float | int | None = getattr(record, self.name)
        return value

    def text(self, record: CellRecord, *, absent: str = "-") -> str:
        """Return the figure of a record as a table shows it, without its unit."""
        value = self.of(record)
        return absent if value is None else format(value * self.scale, self.spec)


def _latency(which: str) -> Callable[[CellRecord], float | None]:
    return lambda record: record.latency_s.get(which)


def _round(record: CellRecord) -> float | None:
    return median(record.rounds_s) if record.rounds_s else None


def _changed(record: CellRecord) -> int | None:
    return None if record.changed_vs_golden is None else len(record.changed_vs_golden)


def _percent(
    name: str, header: str, why: str, *, spec: str = ".2f", better: Better | None = None
) -> Figure:
    return Figure(
        name=name, header=header, why=why, unit="%", scale=100.0, spec=spec, better=better
    )


def _count(name: str, header: str, why: str = "", *, better: Better | None = None) -> Figure:
    return Figure(name=name, header=header, why=why, spec="d", better=better)


def _ms(which: str) -> Figure:
    return Figure(
        name=f"latency_{which}_s",
        header=f"{which} ms",
        read=_latency(which),
        unit="ms",
        scale=1e3,
        better="lower",
        why="from an utterance's batch being staged to its transcript",
    )


def _seconds(
    name: str, header: str, why: str, *, read: Callable[[CellRecord], float | None] | None = None
) -> Figure:
    return Figure(name=name, header=header, why=why, read=read, unit="s", better="lower")


_FIGURES = (
    _count("num_utterances", "utterances", "utterances that were transcribed or failed"),
    Figure(name="audio_s", header="audio s", unit="s"),
    _percent("wer", "WER %", "corpus word error rate", better="lower"),
    _percent("golden_wer", "golden WER %", "corpus WER of the golden transcripts"),
    _count("substitutions", "S", better="lower"),
    _count("deletions", "D", better="lower"),
    _count("insertions", "I", better="lower"),
    _count("reference_words", "words"),
    Figure(
        name="rtfx",
        header="RTFx",
        better="higher",
        why="audio seconds per wall second of the median round",
    ),
    Figure(name="utterances_per_s", header="utt/s", unit="1/s", better="higher"),
    _ms("p50"),
    _ms("p90"),
    _ms("p99"),
    _seconds("round_median_s", "round s", "median of the timed rounds", read=_round),
    Figure(name="num_rounds", header="rounds", read=lambda r: len(r.rounds_s), spec="d"),
    _seconds("warm_up_s", "warm-up s", "capture and first replay of every bucket"),
    _seconds("warm_up_cold_s", "cold warm-up s", "of the first start with this recipe cache"),
    _seconds("compile_s", "compile s", "of the warm-up, in which the device's compiler worked"),
    _count("recipe_hits", "recipe hits", "compiled recipes found in the cache, in the warm-up"),
    _count("recipe_misses", "recipe misses", "recipes not found there"),
    _percent(
        "padding_efficiency",
        "padding eff.",
        "real over padded audio samples",
        spec=".0f",
        better="higher",
    ),
    _count("graph_captures", "captures", "in warm-up"),
    _count("captures_timed", "captures timed", better="lower"),
    _count("compilations_timed", "compilations timed", better="lower"),
    _count("cpu_fallbacks_timed", "CPU fallbacks timed", better="lower"),
    Figure(
        name="peak_memory_bytes",
        header="peak memory MiB",
        unit="MiB",
        scale=1 / 2**20,
        better="lower",
    ),
    Figure(
        name="energy_j",
        header="energy J",
        unit="J",
        better="lower",
        why="energy of the card over one timed round, mean over the rounds",
    ),
    Figure(
        name="energy_per_audio_hour_j",
        header="J / audio hour",
        read=lambda r: r.energy_j * 3600 / r.audio_s if r.energy_j and r.audio_s else None,
        unit="J",
        better="lower",
        why="energy of the card to transcribe an hour of this audio",
    ),
    Figure(
        name="num_changed_vs_golden",
        header="changed",
        read=_changed,
        spec="d",
        better="lower",
        why="transcripts that differ from the golden ones",
    ),
    Figure(
        name="logit_distance",
        header="logit distance",
        better="lower",
        why="largest estimated RMS logit difference from a golden",
    ),
)

FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _FIGURES}
"""Every figure of a record by name, in the order of ``summary.csv``."""
