"""Records to tables, Markdown and pages. No torch here."""
