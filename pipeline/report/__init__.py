"""The report of a run, and what the command line tells from the same accounts."""
