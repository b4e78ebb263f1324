"""Judging tokenizers: what they cost, waste and lose on texts."""
