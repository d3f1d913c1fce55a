"""Frozen configuration, parsed once at the edge (cli, pytest_plugin). No torch here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, get_args

from w2v_core.errors import ConfigError, unknown_name
from w2v_core.printable import shown
from w2v_core.types import Dtype

ForwardName = Literal["exact", "stock"]
PlanKind = Literal["auto", "quantile", "optimal", "sorted", "packed"]
DeviceChoice = Literal["auto", "cpu", "cuda", "hpu"]
FORWARDS: tuple[ForwardName, ...] = get_args(ForwardName)
PLAN_KINDS: tuple[PlanKind, ...] = get_args(PlanKind)
DEVICES: tuple[DeviceChoice, ...] = get_args(DeviceChoice)
DEFAULT_BUCKETS, DEFAULT_ROWS = 8, 8
MOST_RUNS = 10
"""Fresh process runs that a night may ask for beyond its first, unless asked otherwise."""
SILENCE_S = 600.0
"""How long the process of a fleet's card may give no sign of life; more than a timed round."""
MIN_PAIRS = 2
"""Pairs a stage, of which a spread can be told."""
MOST = 1_000_000_000
"""Beyond any count that is meant; a typing error is told instead of tried."""
MOST_S = 1e8
"""Three years: ten times as long, in warm-up, is still a wait that threads can make."""
MAX_STREAMS = 8  # copy streams; the HPU bridge has 32 physical ones and aliases the rest

ChoiceT = TypeVar("ChoiceT", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How utterances are put into static shapes."""

    kind: PlanKind = "auto"
    """``quantile`` the seed's edges, ``optimal`` edges by dynamic programming, ``sorted``
    length-sorted batches of a token budget, ``packed`` no padding; ``auto`` chooses by
    the backend and the size of the model."""
    num_buckets: int = DEFAULT_BUCKETS
    batch_size: int = DEFAULT_ROWS
    at_most: bool = False
    """Take fewer buckets where there are fewer utterances, instead of refusing."""
    any_rows: bool = False
    """Take one row where a host compiles buckets, each of which keeps its activations allocated."""

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        parse_count("buckets", self.num_buckets)
        parse_count("batch_size", self.batch_size)

    @property
    def packed(self) -> bool:
        """Whether batches are computed without padding."""
        return self.kind == "packed"

    def __str__(self) -> str:
        """Return the text form: ``optimal-8x8`` (buckets x rows), ``sorted-8`` (rows)."""
        if self.kind in ("sorted", "packed"):  # these choose their own number of shapes
            return f"{self.kind}-{self.batch_size}"
        return f"{self.kind}-{self.num_buckets}x{self.batch_size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Everything that one engine is told; the checkpoint and the backend are passed beside it."""

    dtype: Dtype = "float32"
    forward: ForwardName = "exact"
    graphs: bool = False
    autocast: bool = False
    """float32 weights under autocast to ``dtype`` (the seed's way) instead of cast weights."""
    plan: BatchPlan = field(default_factory=lambda: BatchPlan(at_most=True, any_rows=True))
    num_slots: int = 4
    decode_workers: int = 1
    """Threads that decode; 0 decodes in the calling thread."""
    event_timeout_s: float = 60.0
    """How long a batch may take, beyond the length of its padded audio, before its device counts as
    lost. In warm-up ten times as long: a first run may compile."""
    strict: bool = True
    """Refuse a bucket that was not warmed up instead of compiling it in the run."""

    @property
    def overlaps(self) -> bool:
        """Whether a batch is staged or decoded while another one is computed."""
        return self.num_slots > 1 or self.decode_workers > 0

    def __post_init__(self) -> None:
        """Refuse counts below their least and autocast to float32."""
        parse_count("num_slots", self.num_slots)
        parse_count("decode_workers", self.decode_workers, least=0)
        parse_amount("event_timeout", self.event_timeout_s)
        if self.autocast and self.dtype == "float32":
            raise ConfigError(
                "autocast to float32 does nothing; {use:dtype bfloat16}, or {use:autocast off}",
                field="autocast",
                value=self.dtype,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which shard of a corpus a process takes, counted from 1: ``2/7``."""

    number: int
    of: int

    def __post_init__(self) -> None:
        """Refuse a number outside 1 to ``of``."""
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"{{flag:shard}} {self} is no shard; they are 1/{self.of} to {self.of}/{self.of}",
                field="shard",
                value=str(self),
            )

    def __str__(self) -> str:
        """Return the text form."""
        return f"{self.number}/{self.of}"


INDEXED = (
    ("RANK", "WORLD_SIZE"),  # torchrun
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI's mpirun
    ("PMI_RANK", "PMI_SIZE"),  # MPICH's and Intel's
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),  # Kubernetes sets the first, the job's spec both
)
"""Variables that number the processes of a job from 0, and those that count them."""


def parse_share(text: str | None, environ: Mapping[str, str] = os.environ) -> Share | None:
    """Turn ``I/N`` into a share, and ``auto`` into the one that the job's environment numbers.

    Raises:
        ConfigError: it is neither, or the environment numbers no process.
    """
    if text is None:
        return None
    if text == "auto":
        return _share_of_job(environ)
    number, _, of = text.partition("/")
    if not (is_whole(number) and is_whole(of) and int(of)):
        raise ConfigError(
            f"{{flag:shard}} {shown(text)} is neither auto nor I/N, such as 2/7",
            field="shard",
            value=text,
        )
    return Share(number=int(number), of=int(of))


def _share_of_job(environ: Mapping[str, str]) -> Share:
    for index, count in INDEXED:
        values = [environ.get(name, "") for name in (index, count)]
        if not values[0]:
            continue
        if not all(v.isdecimal() for v in values) or int(values[0]) >= int(values[1]):
            raise ConfigError(
                f"{{flag:shard}} auto: {index} is {values[0]!r} and {count} is {values[1]!r}; "
                "both must be set, the index counted from 0 and below the count",
                field="shard",
            )
        return Share(number=int(values[0]) + 1, of=int(values[1]))
    known = ", ".join("/".join(pair) for pair in INDEXED)
    raise ConfigError(
        f"{{flag:shard}} auto: none of {known} is set; start it by torchrun, mpirun, srun "
        "or an indexed job, or give I/N",
        field="shard",
    )


def is_whole(text: str) -> bool:
    """Tell whether a text is a count: digits, at most those of ``MOST``."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MOST))


def parse_path(text: str) -> Path:
    """Turn a path as the user wrote it into one, ``~`` expanded: no shell does after ``--x=``.

    Raises:
        ConfigError: the home folder that ``~`` or ``~name`` means is not known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: {error}; write the folder's whole path") from error


def form_plan(kind: PlanKind, *, num_buckets: int | None, batch_size: int | None) -> BatchPlan:
    """Build a plan; None is up to the default number of buckets, and the default rows or one.

    Raises:
        ConfigError: a size below one.
    """
    return BatchPlan(
        kind=kind,
        num_buckets=DEFAULT_BUCKETS if num_buckets is None else num_buckets,
        batch_size=DEFAULT_ROWS if batch_size is None else batch_size,
        at_most=num_buckets is None,
        any_rows=batch_size is None,
    )


def parse_count(name: str, value: int, *, least: int = 1, most: int = MOST) -> int:
    """Return ``value`` where it is within its limits; ``name`` is an option's or a field's.

    Raises:
        ConfigError: naming the option, the value and the limit.
    """
    if not least <= value <= most:
        limit = f"at least {least}" if value < least else f"at most {most}"
        text = f"{{flag:{name}}} is {shown(value)}; it must be {limit}"
        raise ConfigError(text, field=name, value=value)
    return value


def parse_amount(name: str, value: float, *, above: float = 0.0, most: float = MOST_S) -> float:
    """Return a number that is above one limit and at most another; as ``parse_count``.

    Raises:
        ConfigError: naming the option, the value and the limits.
    """
    if not above < value <= most:  # nan is neither
        text = f"{{flag:{name}}} is {value:g}; it must be above {above:g} and at most {most:g}"
        raise ConfigError(text, field=name, value=value)
    return value


def parse_text(name: str, text: str) -> str:
    """Return ``text`` where there is any; an unset shell variable leaves none.

    Raises:
        ConfigError: it is empty.
    """
    if not text.strip():
        text = f"{{flag:{name}}} is empty; give a value, or leave it out"
        raise ConfigError(text, field=name, value="")
    return text


def parse_choice(kind: str, text: str, choices: tuple[ChoiceT, ...]) -> ChoiceT:
    """Return the choice that ``text`` names.

    Raises:
        UnknownNameError: with the nearest choice and all of them.
    """
    for choice in choices:
        if text == choice:
            return choice
    raise unknown_name(kind, text, choices)
