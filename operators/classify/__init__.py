"""Operators that ask a trained model, and the training of one."""
