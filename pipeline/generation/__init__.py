"""Text from a trained model: how logits become tokens."""
