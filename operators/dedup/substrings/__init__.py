"""Runs of words that stand twice: found by winnowed anchors, decided by hashes of whole windows, cut or marked."""
