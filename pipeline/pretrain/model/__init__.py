"""The decoder-only transformer, its options one file each, and its exchange with Hugging Face."""
