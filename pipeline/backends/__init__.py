"""Who runs the shard tasks: this process, or a pool of Ray actors."""
