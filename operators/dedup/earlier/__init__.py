"""Documents that were decided before these: indexes of earlier epochs and of other runs."""
