"""What a measured cell leaves behind, and where it is kept. No torch here."""
