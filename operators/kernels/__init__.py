"""Compiled functions over Arrow buffers: text in hot paths never becomes Python strings."""
