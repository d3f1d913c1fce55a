"""Tiny Wav2Vec2ForCTC checkpoints trained from scratch on canary-speech, and how they were made."""
