"""Mixtures: what is drawn from which stratum of the tokens."""
