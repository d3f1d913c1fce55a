"""Bundled synthetic speech with exact transcripts; its maker is in ``tests/canary``."""
