"""autosd.data."""
