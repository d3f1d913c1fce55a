from w2v_core.config import EngineConfig as EngineConfig
from w2v_core.engine.devices import open_backend as open_backend
from w2v_core.engine.engine import Engine as Engine
from w2v_core.errors import W2VError as W2VError
from w2v_core.front_door import corpus_wer as corpus_wer
from w2v_core.front_door import load_checkpoint as load_checkpoint
from w2v_core.front_door import load_corpus as load_corpus
from w2v_core.types import Hypothesis as Hypothesis
from w2v_core.types import Utterance as Utterance

__version__: str
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

def __dir__() -> list[str]: ...
