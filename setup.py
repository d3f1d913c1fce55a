"""Leaves a torch that is installed already alone.

A Gaudi container brings its own torch; requiring one here would let ``-c constraints.txt``
replace it. So torch (and numpy, which that torch was built against) are required only where they
are absent.
"""

import importlib.metadata
import site
import sysconfig

from setuptools import setup


def is_installed(name: str) -> bool:
    """Look into the environment that is installed into, also from pip's isolated build."""
    paths = sysconfig.get_paths()
    places = [
        paths["purelib"],
        paths["platlib"],
        *site.getsitepackages(),
        site.getusersitepackages(),
    ]
    return any(True for _ in importlib.metadata.distributions(name=name, path=places))


REQUIRED = [
    "transformers>=4.45",
    "safetensors>=0.4",
    "msgspec>=0.19",  # nothing behind it
    "scipy>=1.11",
    "pandas>=2.1",
    "jiwer>=4",
    "soundfile>=0.12.1",  # reads FLAC, WAV, OGG and MP3 from its wheel; no system codec
    "soxr>=0.3.7",
    "mutagen>=1.47",  # OGG pages and MP3 frames, to prove that audio is whole; nothing behind it
    "tabulate>=0.9",  # DataFrame.to_markdown
    "tqdm>=4.60",  # transformers brings it too
    "shtab>=1.7",  # w2v completion; nothing behind it
]
WHERE_ABSENT = {"torch": "torch>=2.6", "numpy": "numpy>=1.26"}

setup(
    install_requires=[
        *REQUIRED,
        *(spec for name, spec in WHERE_ABSENT.items() if not is_installed(name)),
    ]
)
