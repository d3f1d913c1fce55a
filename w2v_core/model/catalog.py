"""Model names: where a checkpoint comes from. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from w2v_core.config import parse_path
from w2v_core.errors import UnknownNameError, unknown_name

Source = Literal["bundled", "hub", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A checkpoint by name."""

    name: str
    source: Source
    location: str
    """Hub id, or directory."""
    revision: str | None = None
    """Pinned hub revision; None means the hub's default branch, its commit is recorded."""
    files: tuple[str, ...] = ()
    """What loading needs of the hub's default branch, where that is known beforehand."""

    @property
    def cell_name(self) -> str:
        """The name within a cell's id: no ``-``, which separates the id's parts."""
        return self.name.replace("-", "_").replace("/", "_")


_SMALL_FILES = (
    "config.json",
    "vocab.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def _bundled(name: str) -> ModelSpec:
    directory = resources.files("w2v_core") / "model" / "canary" / name.removeprefix("canary-")
    return ModelSpec(name=name, source="bundled", location=str(directory))


MODELS: Mapping[str, ModelSpec] = {
    "base": ModelSpec(
        name="base",
        source="hub",
        location="facebook/wav2vec2-base-960h",
        files=(*_SMALL_FILES, "model.safetensors"),
    ),
    "large": ModelSpec(
        name="large",
        source="hub",
        location="facebook/wav2vec2-large-960h-lv60-self",
        files=(*_SMALL_FILES, "pytorch_model.bin"),
    ),
    "canary-base": _bundled("canary-base"),
    "canary-large": _bundled("canary-large"),
}


def parse_model(text: str) -> ModelSpec:
    """Turn a name, a directory or a hub id, each with an optional ``@revision``, into a spec.

    A name from the catalog wins; then an existing directory; then ``owner/name`` is a hub id.

    Raises:
        UnknownNameError: none of the three, with the nearest names.
    """
    name, _, revision = text.partition("@")
    if name in MODELS:
        known = MODELS[name]
        if revision and known.source != "hub":
            raise UnknownNameError(f"model {name!r} is bundled and has no revision {revision!r}")
        return _pinned(known, revision) if revision else known
    if (path := parse_path(text)).is_dir():
        resolved = path.resolve()
        name = path.name if path.name not in ("", "..") else resolved.name
        return ModelSpec(name=name or "root", source="local", location=str(resolved))
    if name.count("/") == 1 and not name.startswith((".", "/")) and not name.endswith("/"):
        return ModelSpec(name=name, source="hub", location=name, revision=revision or None)
    error = unknown_name("model", text, MODELS)
    raise UnknownNameError(f"{error}; or give a directory or a hub id (owner/name[@revision])")


def _pinned(spec: ModelSpec, revision: str) -> ModelSpec:
    return ModelSpec(
        name=spec.name,
        source=spec.source,
        location=spec.location,
        revision=revision,
    )
