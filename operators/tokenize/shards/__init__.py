"""Token shards: written, checked."""
