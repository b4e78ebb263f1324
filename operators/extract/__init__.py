"""Pages to text, and text made regular."""
