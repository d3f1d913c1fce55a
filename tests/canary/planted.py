"""Faults planted on purpose, each wrong in one known way, and variations that must pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn
from transformers import Wav2Vec2ForCTC

from tests.canary.architecture import BLANK, FAMILIES, Family, decode, logits_of
from w2v_core.data.audio import normalise
from w2v_core.types import SAMPLE_RATE_HZ

BUCKET = 2 * SAMPLE_RATE_HZ  # samples; padded lengths are multiples of it
BATCH_SIZE = 8
NORMALISATION_TEST = "test_audio.py::test_normalised_as_transformers_does"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a run returns for one utterance."""

    id: str
    logits: Array
    hypothesis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A canary, the bundled set and the correct outputs."""

    family: Family
    model: Wav2Vec2ForCTC
    ids: tuple[str, ...]
    raw: tuple[Array, ...]
    """Waveforms in [-1, 1), not normalised."""
    correct: tuple[Output, ...]

    def forward(self, waves: Sequence[Array], model: Wav2Vec2ForCTC | None = None) -> list[Output]:
        """Transcribe each wave alone, unpadded."""
        chosen = self.model if model is None else model
        return self.outputs([logits_of(chosen, np.ascontiguousarray(wave)) for wave in waves])

    def outputs(self, logits: Sequence[Array]) -> list[Output]:
        """Name and decode the logits of the whole set."""
        return [
            Output(id=one, logits=rows, hypothesis=decode(rows.argmax(-1)))
            for one, rows in zip(self.ids, logits, strict=True)
        ]

    def cut(self, outputs: Sequence[Output]) -> list[Output]:
        """Cut logits of padded audio to the true number of frames."""
        pairs = zip(outputs, self.correct, strict=True)
        return self.outputs([one.logits[: len(right.logits)] for one, right in pairs])

    @property
    def waves(self) -> list[Array]:
        """The correct input."""
        return [normalise(samples) for samples in self.raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A planted fault, or a legitimate variation."""

    name: str
    run: Callable[[Bench], list[Output]]
    families: tuple[Family, ...] = FAMILIES
    unit_test: str = ""
    """What sees the fault where group norm hides it from the bundled set."""


def _padded(wave: Array, fill: Array | None = None) -> Array:
    """Fill up to a multiple of the bucket with zeros, or with the end of `fill`."""
    length = -(-len(wave) // BUCKET) * BUCKET
    out = np.zeros(length, np.float32)
    if fill is not None:
        out[: len(fill)] = fill[:length]
    out[: len(wave)] = wave
    return out


def _mutated(change: Callable[[Wav2Vec2ForCTC], None]) -> Callable[[Bench], list[Output]]:
    def run(bench: Bench) -> list[Output]:
        model = copy.deepcopy(bench.model)
        with torch.no_grad():
            change(model)
        return bench.forward(bench.waves, model)

    return run


def _on_input(change: Callable[[Array], Array]) -> Callable[[Bench], list[Output]]:
    return lambda bench: bench.forward([change(samples) for samples in bench.raw])


def _normalisation(name: str, change: Callable[[Array], Array]) -> Fault:
    return Fault(name=name, run=_on_input(change), unit_test=NORMALISATION_TEST)


def _on_logits(change: Callable[[Array], Array]) -> Callable[[Bench], list[Output]]:
    return lambda bench: bench.outputs([change(one.logits) for one in bench.correct])


def _round_weights(model: Wav2Vec2ForCTC) -> None:
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())


def _rows(model: Wav2Vec2ForCTC, waves: Tensor, mask: Tensor | None = None) -> Array:
    """Return the float32 logits of the last row of a batch."""
    with torch.inference_mode():
        logits = model(waves, attention_mask=mask).logits[-1]
    return np.asarray(logits.float().numpy())


def _bfloat16(bench: Bench) -> list[Output]:
    model = copy.deepcopy(bench.model).bfloat16()
    return bench.outputs([_rows(model, torch.from_numpy(w)[None].bfloat16()) for w in bench.waves])


def _zero_padding(bench: Bench) -> list[Output]:
    return bench.cut(bench.forward([_padded(wave) for wave in bench.waves]))


def _stale_buffer(bench: Bench) -> list[Output]:
    waves = bench.waves
    return bench.cut(
        bench.forward([_padded(w, fill=waves[i - 1]) for i, w in enumerate(waves)]),
    )


def _normalised_over_padding(samples: Array) -> Array:
    return normalise(_padded(samples))[: len(samples)]


def _half_band(samples: Array) -> Array:
    narrow = resample_poly(resample_poly(samples, 1, 2), 2, 1)
    return normalise(np.asarray(narrow, dtype=np.float32)[: len(samples)])


def _rotated(bench: Bench) -> list[Output]:
    """Give every result of a batch to the next id."""
    out: list[Output] = []
    for start in range(0, len(bench.ids), BATCH_SIZE):
        batch = bench.correct[start : start + BATCH_SIZE]
        out += [
            Output(id=one.id, logits=batch[i - 1].logits, hypothesis=batch[i - 1].hypothesis)
            for i, one in enumerate(batch)
        ]
    return out


def _no_double_letters(bench: Bench) -> list[Output]:
    out = []
    for one in bench.correct:
        ids = one.logits.argmax(-1)
        text = decode(ids[ids != BLANK])
        out.append(Output(id=one.id, logits=one.logits, hypothesis=text))
    return out


def _dropped_batch(bench: Bench) -> list[Output]:
    return list(bench.correct[: len(bench.ids) // BATCH_SIZE * BATCH_SIZE])


def _filler_rows(bench: Bench) -> list[Output]:
    missing = -len(bench.ids) % BATCH_SIZE
    return [*bench.correct, *[bench.correct[-1]] * missing]


def _activations(activation: nn.Module) -> Callable[[Wav2Vec2ForCTC], None]:
    def change(model: Wav2Vec2ForCTC) -> None:
        for layer in model.wav2vec2.feature_extractor.conv_layers:
            layer.activation = activation
        for layer in model.wav2vec2.encoder.layers:
            layer.feed_forward.intermediate_act_fn = activation
        model.wav2vec2.encoder.pos_conv_embed.activation = activation

    return change


class _WrongEnd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 1:]


def _shift_position(model: Wav2Vec2ForCTC) -> None:
    model.wav2vec2.encoder.pos_conv_embed.padding = _WrongEnd()


def _no_position(model: Wav2Vec2ForCTC) -> None:
    model.wav2vec2.encoder.pos_conv_embed.forward = torch.zeros_like


def _no_last_layer(model: Wav2Vec2ForCTC) -> None:
    model.wav2vec2.encoder.layers = model.wav2vec2.encoder.layers[:-1]


def _no_bias(model: Wav2Vec2ForCTC) -> None:
    model.lm_head.bias.zero_()


def _attention_scale(model: Wav2Vec2ForCTC) -> None:
    for layer in model.wav2vec2.encoder.layers:
        layer.attention.scaling *= 1.1


def _norm_epsilon(model: Wav2Vec2ForCTC) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            module.eps = 1e-3


def _threads(bench: Bench) -> list[Output]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return bench.forward(bench.waves)
    finally:
        torch.set_num_threads(before)


def _without_onednn(bench: Bench) -> list[Output]:
    with torch.backends.mkldnn.flags(enabled=False):
        return bench.forward(bench.waves)


def _float64(bench: Bench) -> list[Output]:
    model = copy.deepcopy(bench.model).double()
    return bench.outputs([_rows(model, torch.from_numpy(w)[None].double()) for w in bench.waves])


def _in_batch(bench: Bench) -> list[Output]:
    """Put each utterance behind a louder, reversed copy of itself."""
    waves = [torch.from_numpy(np.stack([2 * w[::-1], w])) for w in bench.waves]
    return bench.outputs([_rows(bench.model, wave) for wave in waves])


def _masked(bench: Bench) -> list[Output]:
    rows = []
    for wave in bench.waves:
        padded = torch.from_numpy(_padded(wave))[None]
        mask = (torch.arange(padded.shape[1]) < len(wave)).long()[None]
        rows.append(_rows(bench.model, padded, mask))
    return bench.cut(bench.outputs(rows))


BASE: tuple[Family, ...] = ("base",)
LARGE: tuple[Family, ...] = ("large",)

VARIATIONS: tuple[Fault, ...] = (
    Fault(name="two threads", run=_threads),
    Fault(name="second row of a batch", run=_in_batch),
    Fault(name="convolutions and products without oneDNN", run=_without_onednn),
    Fault(name="float64", run=_float64),
    Fault(name="padded to 2 s buckets with the attention mask", run=_masked, families=LARGE),
)

FAULTS: tuple[Fault, ...] = (
    Fault(name="weights rounded to bf16", run=_mutated(_round_weights)),
    Fault(name="bf16 weights and activations passed off as fp32", run=_bfloat16),
    Fault(name="zero padding to 2 s buckets, logits cut", run=_zero_padding, families=BASE),
    Fault(name="padded to 2 s buckets, attention mask ignored", run=_zero_padding, families=LARGE),
    Fault(name="static buffer not cleared: the last utterance's tail", run=_stale_buffer),
    _normalisation("normalised over the padding", _normalised_over_padding),
    _normalisation("not normalised, int16 scale", lambda x: x * np.float32(32768)),
    _normalisation("not normalised, [-1, 1) scale", lambda x: x),
    _normalisation("deviation 10 % too large", lambda x: normalise(x) / np.float32(1.1)),
    Fault(name="first sample dropped", run=_on_input(lambda x: normalise(x)[1:])),
    Fault(name="8 kHz round trip", run=_on_input(_half_band)),
    Fault(
        name="positional convolution trims the wrong end (one-frame shift)",
        run=_mutated(_shift_position),
    ),
    Fault(name="positional convolution missing", run=_mutated(_no_position)),
    Fault(name="last encoder layer missing", run=_mutated(_no_last_layer)),
    Fault(name="ReLU for GELU", run=_mutated(_activations(nn.ReLU()))),
    Fault(
        name="tanh approximation of GELU", run=_mutated(_activations(nn.GELU(approximate="tanh")))
    ),
    Fault(name="norm epsilon 1e-3 for 1e-5", run=_mutated(_norm_epsilon)),
    Fault(name="attention scaled by 1.1", run=_mutated(_attention_scale)),
    Fault(name="lm_head bias dropped", run=_mutated(_no_bias)),
    Fault(name="first logit frame dropped", run=_on_logits(lambda x: x[1:])),
    Fault(name="last logit frame dropped", run=_on_logits(lambda x: x[:-1])),
    Fault(name="double letters dropped (blanks removed before merging)", run=_no_double_letters),
    Fault(name="results given to the next id of the batch", run=_rotated),
    Fault(name="incomplete last batch dropped", run=_dropped_batch),
    Fault(name="filler rows of the last batch kept", run=_filler_rows),
)
