"""Digests of the weights that a forward computes with, read where they lie, and where they differ.

Few flipped bits of a weight change a frame id; each changes a digest. Every tensor is copied back
from an accelerator: what is read is the device's memory, not the host's copy of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from w2v_core.errors import RecordError
from w2v_core.fleet.frames import outvoted
from w2v_core.jsonfile import convert, read_json
from w2v_core.records.store import write_text

if TYPE_CHECKING:
    import torch

    from w2v_core.engine.engine import Engine

SHOWN_CHARS = 16  # of a digest, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a forward held when it was read."""

    digests: Mapping[str, str]
    """SHA-256 of each tensor's bytes, by its place in the forward; none where they are not read."""
    num_bytes: int = 0
    unread: str = ""
    """Why they are not read; empty where they are."""

    @property
    def digest(self) -> str | None:
        """One for all tensors and their names; None where they are not read."""
        if self.unread:
            return None
        lines = "".join(f"{name} {self.digests[name]}\n" for name in sorted(self.digests))
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDifference:
    """A tensor of weights that one card holds otherwise than it should."""

    card: str
    tensor: str
    own: str | None
    """The card's digest; None where it has no such tensor."""
    others: str | None
    """Of the weights as they were loaded, or of most other cards."""

    def __str__(self) -> str:
        """Tell it in words."""
        own, others = (d[:SHOWN_CHARS] if d else "none" for d in (self.own, self.others))
        return f"{self.tensor}: SHA-256 {own}, should be {others}"


def read_weights(engine: Engine) -> Weights:
    """Read all weights of an engine from its device; blocks. Nothing may be in flight."""
    support = engine.backend.graph_support(engine.config.dtype)
    if engine.config.graphs and support.copies_weights:
        return Weights(digests={}, unread=f"{support.by} computes with copies of its own")
    held = dict(held_tensors(engine.runner.step.model))
    return Weights(
        digests={name: _digest(tensor) for name, tensor in held.items()},
        num_bytes=sum(tensor.numel() * tensor.element_size() for tensor in held.values()),
    )


def held_tensors(forward: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of a forward's modules, buffers or not, each once, with its place."""
    import torch

    seen: set[int] = set()
    for place, module in forward.named_modules():
        own = {**vars(module), **module._parameters, **module._buffers}
        for name, value in own.items():
            if isinstance(value, torch.Tensor) and id(value) not in seen:
                seen.add(id(value))
                yield f"{place}.{name}" if place else name, value


def _digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes, row by row; oneDNN's blocks are put in rows first."""
    import torch

    dense = tensor.to_dense() if tensor.is_mkldnn else tensor
    rows = dense.detach().cpu().contiguous().view(-1)
    return hashlib.sha256(rows.view(torch.uint8).numpy().data).hexdigest()


def weight_differences(card: str, own: Weights, norm: Weights) -> list[WeightDifference]:
    """Return the tensors whose digests are not the norm's; none where either was not read."""
    if own.unread or norm.unread:
        return []
    return [
        WeightDifference(
            card=card, tensor=name, own=own.digests.get(name), others=norm.digests.get(name)
        )
        for name in sorted(own.digests.keys() | norm.digests.keys())
        if own.digests.get(name) != norm.digests.get(name)
    ]


def compare_weights(
    cards: Mapping[str, Weights],
) -> tuple[list[WeightDifference], list[str]]:
    """Compare what cards with the same software loaded.

    Returns:
        Who differs from more than half of them, and the tensors that have no such majority, with
        what each card holds.
    """
    read = {card: weights for card, weights in cards.items() if not weights.unread}
    found, undecided = [], []
    for name in sorted({n for weights in read.values() for n in weights.digests}):
        digests = {card: w.digests.get(name, "none") for card, w in read.items()}
        norm, wrong = outvoted(digests)
        if norm is None:
            held = ", ".join(f"{card} {digest[:SHOWN_CHARS]}" for card, digest in digests.items())
            undecided.append(f"{name}: SHA-256 {held}")
        found += [
            WeightDifference(card=card, tensor=name, own=digests[card], others=norm)
            for card in wrong
        ]
    return found, undecided


def write_weights(path: Path, weights: Weights) -> None:
    """Write what a forward held; raises ReportError."""
    write_text(path, msgspec.json.encode(asdict(weights)).decode() + "\n")


def read_written(path: Path) -> Weights:
    """Read back what ``write_weights`` wrote; raises RecordError."""
    data = read_json(path, error=RecordError)
    return convert(data, Weights, source=path.name, error=RecordError)
