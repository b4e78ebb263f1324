"""Tests of the takedown command."""
