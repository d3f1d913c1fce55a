"""A small Wav2Vec2 CTC inference engine for Intel Gaudi, CUDA and CPU.

Importing the package imports neither torch nor transformers; a name of the front door imports what
it needs when it is first used.
"""

from w2v_core import _moved

__version__ = "0.1.0"
__all__ = [
    "Engine",
    "EngineConfig",
    "Hypothesis",
    "Utterance",
    "W2VError",
    "corpus_wer",
    "load_checkpoint",
    "load_corpus",
    "open_backend",
]

_HOMES = {
    "Engine": "engine.engine",
    "EngineConfig": "config",
    "Hypothesis": "types",
    "Utterance": "types",
    "W2VError": "errors",
    "corpus_wer": "front_door",
    "load_checkpoint": "front_door",
    "load_corpus": "front_door",
    "open_backend": "engine.devices",
}

_moved.install()


def __getattr__(name: str) -> object:
    """Import a name of the front door from the module that holds it (PEP 562)."""
    import importlib

    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the front door's names too."""
    return sorted({*globals(), *__all__})
