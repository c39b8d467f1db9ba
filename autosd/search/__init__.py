"""autosd.search."""
