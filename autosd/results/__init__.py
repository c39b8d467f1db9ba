"""autosd.results."""
