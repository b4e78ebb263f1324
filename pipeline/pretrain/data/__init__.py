"""From token shards to the batches of a step: a pure function of (seed, step)."""
