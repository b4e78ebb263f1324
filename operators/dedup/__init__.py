"""Deduplication: exact copies and near duplicates by MinHash, over committed files."""
