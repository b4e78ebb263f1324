"""What the command knows beyond the engine: token shards, models and exports that saw a document, words for people."""
