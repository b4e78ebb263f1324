"""How large a model, on how many tokens, with which settings: arithmetic before a training run. Needs no torch."""
