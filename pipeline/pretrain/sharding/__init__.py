"""How weights, gradients and moments lie on ranks: the whole of them on each, or split. Imports torch alone."""
