"""Tables of an ablation study: option files that are the rows, their training, and what the runs left."""
