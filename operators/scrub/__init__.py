"""Operators against what should not be learned: personal data and abuse."""
