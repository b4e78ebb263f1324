"""What watches the removals: an alarm on wiped-out sources, an audit of what went."""
