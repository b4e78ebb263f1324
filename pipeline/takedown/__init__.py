"""Taking documents out of everything that a run holds."""
