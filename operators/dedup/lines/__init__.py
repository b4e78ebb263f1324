"""Deduplication inside documents: lines, paragraphs and runs of sentences that many documents hold."""
