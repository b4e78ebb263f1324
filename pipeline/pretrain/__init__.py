"""Pretraining: token shards to a first checkpoint. Nothing below imports ray but ``ray_entry``."""
