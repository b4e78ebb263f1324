"""Near duplicates: buckets, edges, components, and who stays."""
