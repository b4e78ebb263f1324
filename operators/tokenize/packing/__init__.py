"""Sequences of one length from token shards: which document goes into which."""
