"""Held-out sets, by whole clusters of duplicates."""
