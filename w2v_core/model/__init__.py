"""Waveforms to logits: checkpoints and the forwards."""
