"""Exports: what a step holds, laid out as other programs read it."""
