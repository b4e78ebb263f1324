"""Training: which documents, their pieces, the tokenizer and its card."""
