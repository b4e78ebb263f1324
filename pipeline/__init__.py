"""The engine: how documents move, shard by shard, and how each is accounted for."""

from pipeline.apply import Outcome, apply

__all__ = ["Outcome", "apply"]
