"""What a trained model is worth: how well it predicts texts, chooses answers and continues prompts."""
