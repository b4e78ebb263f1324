"""Tokenizers made elsewhere: read, and written as tokenizer.json."""
