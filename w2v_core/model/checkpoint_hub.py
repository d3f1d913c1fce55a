"""Checkpoints of the Hugging Face hub: looked up in its cache, fetched, and told how to fetch.

No torch, and huggingface_hub is imported where it is used. A cached checkpoint that is complete is
used without asking the hub for a newer commit, as data sets are.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2v_core.errors import CheckpointError, NotCachedError
from w2v_core.hub_errors import HubFault, explain
from w2v_core.model.catalog import ModelSpec
from w2v_core.model.checkpoint_files import (
    SMALL_FILES,
    WEIGHTS,
    find_weights,
    lacking,
    needed_of,
    pickles_unreadable,
)

NO_DOWNLOAD_HELPS = ("repository", "revision", "name")  # the same command would fail alike
BUNDLED = "or use a bundled checkpoint: canary-base or canary-large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the hub's cache holds of a checkpoint."""

    directory: Path | None
    """The snapshot's folder, named by its commit; None where nothing is cached."""
    lacks: tuple[str, ...]
    """Files that loading needs and that are not there; empty where it is complete."""


def look_up(spec: ModelSpec) -> Snapshot:
    """Look into the hub's cache; never uses the network.

    Raises:
        CheckpointError: what is cached contradicts itself.
        NotCachedError: the location is no repository name.
    """
    directory = _cached_directory(spec)
    listed = _listed(spec)
    if directory is None:
        files = needed_of(listed) or ("config.json and all other files",)
        return Snapshot(directory=None, lacks=files)
    return Snapshot(directory=directory, lacks=lacking(directory, listed=listed))


def why_not_loadable(spec: ModelSpec) -> str | None:
    """Say why a checkpoint cannot be loaded without a network; None where it can.

    This is what "cached" means everywhere: every file that loading needs is there, all shards and
    small files among them, and this torch reads their kind.
    """
    try:
        if spec.source == "hub":
            found = look_up(spec)
            directory, lacks = found.directory, found.lacks
        else:
            directory = Path(spec.location)
            lacks = lacking(directory)
        if directory is None or not directory.is_dir():
            return "not cached"
        if lacks:
            return f"not cached: lacks {', '.join(lacks)}"
        weights = find_weights(directory)
    except (CheckpointError, NotCachedError) as error:
        return str(error)
    return pickles_unreadable() if weights is not None and weights.are_pickles else None


def fetch(spec: ModelSpec) -> Snapshot:
    """Download what loading needs into the hub's cache; blocks on the network.

    Raises:
        NotCachedError: it cannot be fetched; says why, what is lacking and how to fetch it.
        CheckpointError: the repository lacks a file that loading needs.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        commit = HfApi().model_info(spec.location, revision=spec.revision).sha
        listed = HfApi().list_repo_files(spec.location, revision=commit)
        names = needed_of(listed)
        snapshot_download(spec.location, revision=spec.revision, allow_patterns=list(names))
        found = look_up(spec)
        if rest := [name for name in found.lacks if name in listed]:  # shards of other names
            snapshot_download(spec.location, revision=spec.revision, allow_patterns=rest)
            found = look_up(spec)
    except Exception as error:  # its classes depend on the client's version; explain sorts them
        fault = explain(error, repository=spec.location, revision=spec.revision)
        raise not_cached(spec, look_up(spec).lacks, fault) from error
    if found.lacks:
        raise CheckpointError(
            f"checkpoint {spec.name!r} ({spec.location} at {commit}) has no "
            f"{', '.join(found.lacks)} on the hub; it is no whole Wav2Vec2ForCTC"
        )
    return found


def not_cached(spec: ModelSpec, lacks: tuple[str, ...], fault: HubFault) -> NotCachedError:
    """Build the error for a checkpoint that is not here, with the command that would fetch it."""
    at = f" at revision {spec.revision!r}" if spec.revision else ""
    text = (
        f"checkpoint {spec.name!r} ({spec.location}{at}) is not cached: lacks {', '.join(lacks)}; "
        f"and it cannot be fetched: {fault.reason}"
    )
    if fault.kind in NO_DOWNLOAD_HELPS:
        return NotCachedError(f"{text}; {BUNDLED}")
    return NotCachedError(
        f"{text}. Fetch it where there is a network with: {download_command(spec)} ; {BUNDLED}"
    )


def download_command(spec: ModelSpec) -> str:
    """Write the command that fetches all that loading needs, or the whole repository."""
    names = needed_of(_listed(spec))
    at = ["--revision", spec.revision] if spec.revision else []
    return shlex.join(["hf", "download", spec.location, *names, *at])


def offline_fault() -> HubFault | None:
    """Return the fault that offline mode is, where it is on."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if not constants.HF_HUB_OFFLINE:
        return None
    return explain(OfflineModeIsEnabled("offline"), repository="")


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
