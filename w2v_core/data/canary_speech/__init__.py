"""Bundled synthetic speech with exact transcripts, and the code that made it."""
