"""Tests of taking documents out of a run."""
