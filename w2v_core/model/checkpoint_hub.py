"""Checkpoints of the Hugging Face hub: looked up in its cache, fetched, and told how to fetch.

No torch, and huggingface_hub is imported where it is used. A cached checkpoint that is complete is
used without asking the hub for a newer commit, as data sets are.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from w2v_core.errors import CheckpointError, NotCachedError
from w2v_core.hub_errors import OFFLINE, HubFault, explain
from w2v_core.model.catalog import ModelSpec
from w2v_core.model.checkpoint_files import (
    SMALL_FILES,
    WEIGHTS,
    find_weights,
    lacking,
    needed_of,
    pickles_unreadable,
)

ADAPTER = "adapter_config.json"  # PEFT's: LoRA and its like
ADAPTER_NOTE = "is a PEFT adapter (merge it into its base, merge_and_unload, and save that)"
BUNDLED = "or use a bundled checkpoint: canary-base or canary-large"


def why_not_loadable(spec: ModelSpec) -> str | None:
    """Say why a checkpoint cannot be loaded without a network; None where it can.

    This is what "cached" means everywhere: every file that loading needs is there, all shards and
    small files among them, and this torch reads their kind.
    """
    try:
        directory, lacks = _look_up(spec)
        if directory is None:
            return "not cached"
        if lacks:
            return f"not cached: lacks {', '.join(lacks)}"
        weights = find_weights(directory)
    except (CheckpointError, NotCachedError) as error:
        return str(error)
    return pickles_unreadable() if weights is not None and weights.are_pickles else None


def locate(spec: ModelSpec) -> Path:
    """Return the checkpoint's folder, whole, after fetching it where it is not; may use the hub.

    Raises:
        NotCachedError: it cannot be fetched; says why, what is lacking and how to fetch it.
        CheckpointError: there is no such folder, or it lacks a file that loading needs.
    """
    directory, lacks = _look_up(spec)
    if lacks and spec.source == "hub":
        directory, lacks = _fetch(spec, lacks)
    if directory is None:
        raise CheckpointError(f"checkpoint {spec.name!r}: {spec.location} is not a directory")
    if lacks:
        adapter = f"{ADAPTER_NOTE}, and " if (directory / ADAPTER).is_file() else ""
        raise CheckpointError(
            f"checkpoint {spec.name!r}: {directory} {adapter}has no {', '.join(lacks)}; needed are "
            "config.json, vocab.json, preprocessor_config.json or processor_config.json, and the "
            "weights as model.safetensors or pytorch_model.bin, whole or in shards with an index"
        )
    return directory


def _look_up(spec: ModelSpec) -> tuple[Path | None, tuple[str, ...]]:
    """Return the folder that is here, if any, and the files that it lacks; never uses the network.

    Raises:
        CheckpointError: what is here contradicts itself.
        NotCachedError: the location is no repository name.
    """
    if spec.source != "hub":
        folder = Path(spec.location)
        return (folder, lacking(folder)) if folder.is_dir() else (None, ())
    directory, listed = _cached_directory(spec), _listed(spec)
    if directory is None:
        return None, needed_of(listed) or ("config.json and all other files",)
    return directory, lacking(directory, listed=listed)


def _fetch(spec: ModelSpec, lacks: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """Download what loading needs into the hub's cache; blocks on the network."""
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise _not_cached(spec, lacks, OFFLINE)
    try:
        commit = HfApi().model_info(spec.location, revision=spec.revision).sha
        listed = HfApi().list_repo_files(spec.location, revision=commit)
        names = list(needed_of(listed))
        snapshot_download(spec.location, revision=spec.revision, allow_patterns=names)
        if rest := [name for name in _look_up(spec)[1] if name in listed]:  # shards of other names
            snapshot_download(spec.location, revision=spec.revision, allow_patterns=rest)
    except Exception as error:  # its classes depend on the client's version; explain sorts them
        fault = explain(error, repository=spec.location, revision=spec.revision)
        raise _not_cached(spec, _look_up(spec)[1], fault) from error
    return _look_up(spec)


def _not_cached(spec: ModelSpec, lacks: tuple[str, ...], fault: HubFault) -> NotCachedError:
    at = f" at revision {spec.revision!r}" if spec.revision else ""
    text = (
        f"checkpoint {spec.name!r} ({spec.location}{at}) is not cached: lacks {', '.join(lacks)}; "
        f"and it cannot be fetched: {fault.reason}"
    )
    if not fault.can_fetch:
        return NotCachedError(f"{text}; {BUNDLED}")
    return NotCachedError(
        f"{text}. Fetch it where there is a network with: {download_command(spec)} ; {BUNDLED}"
    )


def download_command(spec: ModelSpec) -> str:
    """Write the command that fetches all that loading needs, or the whole repository."""
    names = needed_of(_listed(spec))
    at = ["--revision", spec.revision] if spec.revision else []
    return shlex.join(["hf", "download", spec.location, *names, *at])


def _cached_directory(spec: ModelSpec) -> Path | None:
    from huggingface_hub import constants, try_to_load_from_cache

    for name in (*SMALL_FILES, *WEIGHTS):
        try:
            path: Any = try_to_load_from_cache(
                spec.location, name, cache_dir=constants.HF_HUB_CACHE, revision=spec.revision
            )
        except ValueError as error:  # HFValidationError
            fault = explain(error, repository=spec.location, revision=spec.revision)
            raise NotCachedError(f"checkpoint {spec.name!r}: {fault.reason}; {BUNDLED}") from error
        if isinstance(path, str):
            return Path(path).parent
    return None


def _listed(spec: ModelSpec) -> tuple[str, ...]:
    """Return the repository's files as far as they are known here without asking the hub.

    huggingface_hub 2 keeps a commit's listing beside the snapshot; the catalog knows those of the
    two checkpoints that the suite is for.
    """
    import huggingface_hub
    from huggingface_hub import constants, errors

    read_tree: Any = getattr(huggingface_hub, "get_cached_repo_tree", None)
    if read_tree is None:
        return spec.files
    try:
        tree = read_tree(spec.location, revision=spec.revision, cache_dir=constants.HF_HUB_CACHE)
    except (errors.CachedRepoTreeNotFoundError, OSError, ValueError):
        return spec.files
    return tuple(str(entry.path) for entry in tree)
