"""Training: the one loop, its optimiser, metrics and checkpoints."""
