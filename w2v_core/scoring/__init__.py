"""Transcripts to WER. No torch here."""
