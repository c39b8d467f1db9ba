"""autosd.strategies."""
