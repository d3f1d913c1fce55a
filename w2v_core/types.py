"""The frozen values that travel through the engine. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from w2v_core.errors import UnknownNameError, unknown_name

SAMPLE_RATE_HZ = 16_000
FRAME_STRIDE = 320  # samples; 5*2*2*2*2*2*2, HF Wav2Vec2Config.conv_stride
RECEPTIVE_FIELD = 400  # samples; the convolutions' joint kernel (10,3,3,3,3,2,2)

Stage = Literal["h2d", "compute", "d2h", "decode"]
"""What a batch goes through: to the device, the forward with its arg-max, to the host, CTC."""
Dtype = Literal["float32", "bfloat16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
Waveform = npt.NDArray[np.float32]


def num_frames(num_samples: int) -> int:
    """Count the encoder frames of an unpadded utterance; 0 below one receptive field.

    Equal to applying ``(n - kernel) // stride + 1`` over the seven convolutions in turn.
    """
    if num_samples < RECEPTIVE_FIELD:
        return 0
    return (num_samples - RECEPTIVE_FIELD) // FRAME_STRIDE + 1


def stepped_frames(frames: int) -> int:
    """Round frames up, so that lengths share few shapes: to 16, and to 1/16-1/8 of them from 256.

    The step doubles with the octave, so what it pads stays below an eighth.
    """
    step = 16
    while frames > 16 * step:
        step *= 2
    return -(-frames // step) * step


def parse_dtype(text: str) -> Dtype:
    """Turn ``float32 | fp32 | bfloat16 | bf16`` into a dtype.

    Raises:
        UnknownNameError: for any other text; float16 with the reason.
    """
    aliases: dict[str, Dtype] = {"fp32": "float32", "bf16": "bfloat16"}
    aliases.update({name: name for name in DTYPES})
    if text in aliases:
        return aliases[text]
    if text in ("float16", "fp16"):
        raise UnknownNameError(
            f"dtype {text!r} is refused: Gaudi's group norm takes bfloat16 and float32 only; "
            "use bfloat16"
        )
    raise unknown_name("dtype", text, aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The token table of a checkpoint, as CTC decoding needs it."""

    tokens: tuple[str, ...]
    """Token text by id."""
    blank_id: int
    """The CTC blank: the id of ``<pad>`` in Wav2Vec2 vocabularies."""
    delimiter_id: int | None
    """The word delimiter ``|``, a space in the transcript; None: no row stands for it."""
    same_as: tuple[int, ...] = ()
    """By id, the first id with the same text, which CTC merges it with; empty: all texts differ."""
    delimiter_text: str = " "
    """What the word delimiter becomes (the tokenizer's ``replace_word_delimiter_char``)."""
    lower_case: bool = False
    """Whether transcripts are lower-cased (``do_lower_case``)."""
    clean_up: bool = False
    """Whether spaces before punctuation and clitics go (``clean_up_tokenization_spaces``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One audio segment with at most one reference; the unit of scoring."""

    utterance_id: str
    waveform: Waveform = field(repr=False)
    """(S,) float32, mono, 16 kHz."""
    reference: str | None = None
    speaker: str | None = None
    normalised: bool = False
    """Whether the waveform has zero mean and unit variance over its own samples."""
    scaling: tuple[float, float] | None = None
    """What staging takes off each sample, and its factor then; None leaves samples as they are."""
    notes: tuple[str, ...] = ()
    """What is odd about the recording, a kind and a detail each: ``silent: ...``."""

    def write_to(self, row: Waveform) -> None:
        """Write the scaled waveform into a row at least as long, and zeros behind it."""
        own = row[: self.num_samples]
        if self.scaling is None:
            own[:] = self.waveform
        else:
            mean, factor = self.scaling
            np.subtract(self.waveform, np.float32(mean), out=own)
            np.multiply(own, np.float32(factor), out=own)
        row[self.num_samples :] = 0.0

    @property
    def num_samples(self) -> int:
        """Audio samples, padding never counted."""
        return int(self.waveform.shape[0])

    @property
    def audio_s(self) -> float:
        """Audio duration in seconds, padding never counted."""
        return self.num_samples / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bucket:
    """A static input shape; one captured graph per bucket."""

    num_samples: int
    """Padded samples per row, ``320 * num_frames + 80``."""
    batch_size: int
    """Rows in the batch, padding rows included."""

    @property
    def num_frames(self) -> int:
        """Frames per row that the static shape computes."""
        return num_frames(self.num_samples)

    @property
    def capacity_samples(self) -> int:
        """The longest utterance that fits.

        One sample less than the shape: the last frame of the shape is spare, because group norm's
        statistics reach layer-0 frames past the last one that is used.
        """
        return self.num_samples - 1

    @staticmethod
    def holding(num_samples: int, *, batch_size: int) -> Bucket:
        """Return the smallest bucket whose capacity is at least ``num_samples``."""
        return Bucket.of(max(num_frames(num_samples), 1) + 1, batch_size=batch_size)

    @staticmethod
    def of(frames: int, *, batch_size: int) -> Bucket:
        """Return the bucket that computes ``frames`` frames a row, the spare one included."""
        return Bucket(num_samples=FRAME_STRIDE * frames + 80, batch_size=batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Utterances that go through the forward together; rows past them are padding."""

    bucket: Bucket
    utterances: tuple[Utterance, ...]

    @property
    def utterance_ids(self) -> tuple[str, ...]:
        """Ids by row."""
        return tuple(u.utterance_id for u in self.utterances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """The transcript of one utterance."""

    utterance_id: str
    text: str
    num_frames: int
    """Frames that the transcript was read from."""
    latency_s: float
    """From the batch's launch to this transcript's being available on the host."""
    frame_ids: npt.NDArray[np.int32] | None = field(default=None, repr=False, compare=False)
    """(num_frames,) arg-max token ids, kept only where the caller asked for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An utterance that has no transcript because something went wrong."""

    utterance_id: str
    stage: Stage
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """An utterance left out by a stated rule before anything ran."""

    utterance_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimes:
    """Host seconds by what they went into, summed over a pass; they overlap the device's work."""

    h2d_s: float = 0.0
    """Scaling into the slot's host buffer and enqueue of the H2D copies."""
    compute_s: float = 0.0
    """Enqueue of the forward; on a synchronous device, its execution."""
    d2h_s: float = 0.0
    """Enqueue of the D2H copy; on Gaudi also waits for the launch thread, as recording an event on
    the current stream does (bridge 1.19, HPUEvent.cpp)."""
    wait_s: float = 0.0
    """Blocked on a slot's event."""
    decode_s: float = 0.0
    """CTC decoding in the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """What one pass over a set of utterances returned.

    ``hypotheses`` follow the order of the input, whatever order the device finished in.
    """

    hypotheses: tuple[Hypothesis, ...]
    failures: tuple[Failure, ...]
    wall_s: float
    """From the first utterance's launch to the last transcript."""
    audio_s: float
    """Sum over the utterances that have a hypothesis."""
    padded_samples: int
    """Samples of all static shapes that ran, padding rows included."""
    real_samples: int
    host_times: HostTimes

    @property
    def padding_efficiency(self) -> float:
        """Real samples over padded samples, padding rows counted; a fraction."""
        return self.real_samples / self.padded_samples if self.padded_samples else 1.0

    @property
    def texts(self) -> dict[str, str]:
        """Transcripts by utterance id."""
        return {h.utterance_id: h.text for h in self.hypotheses}
