"""Tiny Wav2Vec2ForCTC checkpoints trained from scratch; their makers are in ``tests/canary``."""
