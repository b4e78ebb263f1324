"""Rules by which a text is kept or dropped, or loses lines."""
