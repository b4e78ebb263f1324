"""What is predicted from what, where it is not the next token from all before it."""

from pipeline.pretrain.objectives.prepare import check_objective, prepare

__all__ = ["check_objective", "prepare"]
