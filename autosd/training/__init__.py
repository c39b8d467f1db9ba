"""autosd.training."""
