"""What the system's files and the installation tell; None where they do not."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path


def read(path: Path) -> str | None:
    """Return a file's text without white space around it; None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def version_of(package: str) -> str | None:
    """Return the version of an installed package; imports nothing of it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
