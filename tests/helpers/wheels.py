"""Tiny distributions: metadata in a wheel, to be resolved and installed as real ones are."""

import zipfile
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str, *requires: str, metadata: str = "") -> Path:
    """Write a wheel that holds its metadata only; ``metadata`` in place of what is made here."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", metadata or "\n".join(lines) + "\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path
