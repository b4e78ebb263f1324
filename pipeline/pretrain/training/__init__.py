"""One rank's loop: updates, checkpoints, metrics, evaluation on held-out documents."""
