"""Records to judgement. No torch here."""
