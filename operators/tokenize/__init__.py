"""Tokenizers: training, encoding, token shards."""
