"""A small Wav2Vec2 CTC inference engine for Intel Gaudi, CUDA and CPU.

Importing the package imports neither torch nor transformers.
"""

__version__ = "0.1.0"
