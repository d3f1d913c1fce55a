"""Utterances in: corpora from the hub, from disk and the bundled canary-speech."""
